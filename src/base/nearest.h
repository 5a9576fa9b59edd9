#pragma once

#include <span>
#include <string_view>

namespace millrace {

/// The one of `known` that `word` most likely meant: the fewest letters to change, at most a third
/// of them, case aside. Empty when none is near. For messages: `no option "x"; did you mean "y"?`
std::string_view nearest(std::string_view word, std::span<const std::string_view> known);

}  // namespace millrace

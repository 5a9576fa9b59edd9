#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace millrace::http::detail {

/// A target up to its query: /v1/subscribe
inline std::string_view path_of(std::string_view target) {
  return target.substr(0, target.find('?'));
}
/// Nothing when it is not percent-encoded.
std::optional<std::string> percent_decoded(std::string_view text);
/// The names and values of a target's query, in their order. Errors: kInvalidArgument.
Result<std::vector<std::pair<std::string, std::string>>> read_query(std::string_view target);

}  // namespace millrace::http::detail

#pragma once

#include <string>
#include <string_view>

namespace millrace {

/// Appends `text` to `out` as a JSON string, quotes included. Bytes that are not UTF-8 pass as they
/// are.
void append_json_string(std::string_view text, std::string& out);

}  // namespace millrace

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace millrace::broker::detail {

/// Bytes inside JSON (RFC 4648, with padding).
std::string to_base64(std::string_view bytes);
/// Nullopt when `text` is not base64.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace millrace::broker::detail

#include "base/ids.h"

#include <fmt/format.h>
#include <sys/random.h>

namespace millrace {

namespace {
/// Whether a hyphen stands before the byte at `index`.
bool hyphen_before(size_t index) { return index == 4 || index == 6 || index == 8 || index == 10; }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}
}  // namespace

Uuid Uuid::random() {
  Uuid id;
  MR_CHECK(::getrandom(id.bytes.data(), id.bytes.size(), 0) == 16);
  id.bytes[6] = static_cast<uint8_t>((id.bytes[6] & 0x0f) | 0x40);
  id.bytes[8] = static_cast<uint8_t>((id.bytes[8] & 0x3f) | 0x80);
  return id;
}

std::string Uuid::to_string() const {
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (hyphen_before(i)) text += '-';
    fmt::format_to(std::back_inserter(text), "{:02x}", bytes[i]);
  }
  return text;
}

Result<Uuid> Uuid::parse(std::string_view text) {
  Uuid id;
  const Error bad{ErrorCode::kInvalidText,
                  fmt::format("'{}' is not a UUID of the form 8-4-4-4-12 hex digits", text)};
  if (text.size() != 36) return bad;
  size_t at = 0;
  for (size_t i = 0; i < id.bytes.size(); ++i) {
    if (hyphen_before(i) && text[at++] != '-') return bad;
    const int high = hex_digit(text[at++]);
    const int low = hex_digit(text[at++]);
    if (high < 0 || low < 0) return bad;
    id.bytes[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return id;
}

}  // namespace millrace

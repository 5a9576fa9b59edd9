#include "http/detail/query.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace millrace::http::detail {

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      uint8_t value = 0;
      if (i + 2 >= text.size()) return std::nullopt;
      const char* digits = text.data() + i + 1;
      if (std::from_chars(digits, digits + 2, value, 16).ptr != digits + 2) return std::nullopt;
      out += static_cast<char>(value);
      i += 2;
    }
  }
  return out;
}

Result<std::vector<std::pair<std::string, std::string>>> read_query(std::string_view target) {
  std::vector<std::pair<std::string, std::string>> out;
  const auto mark = target.find('?');
  auto query = mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
  while (!query.empty()) {
    const auto end = std::min(query.find('&'), query.size());
    const auto part = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const auto equals = std::min(part.find('='), part.size());
    auto value = percent_decoded(part.substr(std::min(equals + 1, part.size())));
    if (!value) {
      return Error{ErrorCode::kInvalidArgument, fmt::format("{} is not percent-encoded", part)};
    }
    out.emplace_back(part.substr(0, equals), std::move(*value));
  }
  return out;
}

}  // namespace millrace::http::detail

#pragma once
// Parameters that are lists.
#include <string_view>
#include <vector>

inline std::string_view trim(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

/// The parts of a list, without the blanks around them; empty ones do not count.
inline std::vector<std::string_view> split(std::string_view list, char by) {
  std::vector<std::string_view> parts;
  for (size_t from = 0; from <= list.size();) {
    size_t to = list.find(by, from);
    if (to == list.npos) to = list.size();
    const auto part = trim(list.substr(from, to - from));
    if (!part.empty()) parts.push_back(part);
    from = to + 1;
  }
  return parts;
}

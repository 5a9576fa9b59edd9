#include "connect/detail/body.h"

#include <fmt/format.h>
#include <simdjson.h>

#include "base/json.h"

namespace millrace::connect {

namespace {

std::string_view trimmed(std::string_view text) {
  constexpr const char* kSpace = " \t\r\n";
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) + 1 - first);
}

/// Whether it is one JSON value and nothing else.
bool is_json(std::string_view text) {
  thread_local simdjson::dom::parser parser;
  return !text.empty() && parser.parse(text.data(), text.size()).error() == simdjson::SUCCESS;
}

Error not_json(std::string_view what) {
  return Error{ErrorCode::kInvalidRecord, fmt::format("the body is no {}", what)};
}

Result<std::vector<std::string>> elements_of(std::string_view body) {
  // Checked as a whole first: the second reader looks no closer than it must.
  if (!is_json(body)) return not_json("JSON array");
  simdjson::ondemand::parser parser;
  const simdjson::padded_string padded(body);
  simdjson::ondemand::document document;
  simdjson::ondemand::array array;
  if (parser.iterate(padded).get(document) || document.get_array().get(array)) {
    return not_json("JSON array");
  }
  std::vector<std::string> out;
  for (auto element : array) {
    std::string_view raw;
    simdjson::ondemand::value value;
    if (std::move(element).get(value) || simdjson::to_json_string(value).get(raw)) {
      return not_json("JSON array");
    }
    out.emplace_back(trimmed(raw));
  }
  return out;
}

}  // namespace

BodyFormat body_format(std::string_view name) {
  if (name == "array") return BodyFormat::kArray;
  if (name == "lines") return BodyFormat::kLines;
  return name == "json" ? BodyFormat::kJson : BodyFormat::kWhole;
}

Result<std::vector<std::string>> values_of(BodyFormat format, std::string_view body) {
  if (format == BodyFormat::kArray) return elements_of(trimmed(body));
  std::vector<std::string> out;
  if (format == BodyFormat::kLines) {
    for (size_t from = 0; from < body.size();) {
      const size_t end = std::min(body.find('\n', from), body.size());
      const auto line = trimmed(body.substr(from, end - from));
      if (!line.empty()) out.emplace_back(line);
      from = end + 1;
    }
    return out;
  }
  if (format == BodyFormat::kJson) {
    body = trimmed(body);
    if (!is_json(body)) return not_json("JSON value");
  }
  if (!body.empty()) out.emplace_back(body);
  return out;
}

std::string json_element(std::string_view value) {
  if (is_json(value)) return std::string(value);
  std::string out;
  append_json_string(value, out);
  return out;
}

}  // namespace millrace::connect

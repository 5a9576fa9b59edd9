// to_columns(fields => 'id,amount' [, delimiter => ','] [, into => 'line' | 'headers']): fields of
// a JSON document become a delimited line (with CSV's quotes where they are needed), or headers
// beside the document.
#include <millrace/module.h>

#include "list.h"

using namespace millrace;

struct ToColumns {
  std::vector<std::string_view> fields;
  std::string_view delimiter;
  bool headers = false;

  Status init(const Parameters& parameters) {
    const auto given = parameters.require("fields");
    if (!given) return given.why();
    fields = split(*given, ',');
    delimiter = parameters.get("delimiter", ",");
    const auto into = parameters.get("into", "line");
    headers = into == "headers";
    if (!headers && into != "line")
      return failure("parameter 'into' is line or headers, not '", into, "'");
    return {};
  }

  Status operator()(const Record& record, Output& out) const {
    if (!record.has_value()) return {};
    auto* found = abi::take_array<std::string_view>(fields.size());
    for (size_t i = 0; i < fields.size(); ++i) found[i] = {};
    json::Walker walker(record.value());
    while (walker.next()) {
      if (walker.depth() != 1) continue;
      for (size_t i = 0; i < fields.size(); ++i) {
        if (!walker.named(fields[i])) continue;
        found[i] = walker.kind() == json::Kind::kNull ? std::string_view() : walker.take();
        break;
      }
    }
    if (walker.failed()) return walker.why();
    Text line;
    for (size_t i = 0; i < fields.size(); ++i) {
      const bool there = found[i].data() != nullptr;
      if (headers) {
        if (there) out.add_header(fields[i], json::text(found[i]));
        continue;
      }
      if (i != 0) line << delimiter;
      if (there) column(line, json::text(found[i]));
    }
    if (!headers) out.set_value(line);
    return {};
  }

 private:
  void column(Text& line, std::string_view text) const {
    if (text.find(delimiter) == text.npos && text.find_first_of("\"\r\n") == text.npos) {
      line << text;
      return;
    }
    line << '"';
    for (const char c : text) {
      if (c == '"') line << '"';
      line << c;
    }
    line << '"';
  }
};

MILLRACE_MAP(to_columns, ToColumns{});

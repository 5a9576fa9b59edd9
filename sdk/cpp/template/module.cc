// {{name}}(text => 'error'): keeps the records whose value contains that text.
#include <millrace/module.h>

using namespace millrace;

struct Contains {
  std::string_view text;

  Status init(const Parameters& parameters) {
    const auto given = parameters.require("text");
    if (!given) return given.why();
    text = *given;
    return {};
  }

  bool operator()(const Record& record) const { return record.value().find(text) != std::string_view::npos; }
};

MILLRACE_FILTER({{name}}, Contains{});

// redact(fields => 'email,ssn' [, with => '***']): in JSON, replaces the values of those fields,
// wherever they stand.
#include <millrace/module.h>

#include "list.h"

using namespace millrace;

struct Redact {
  std::vector<std::string_view> fields;
  std::string_view with;

  Status init(const Parameters& parameters) {
    const auto given = parameters.require("fields");
    if (!given) return given.why();
    fields = split(*given, ',');
    with = parameters.get("with", "***");
    return {};
  }

  Status operator()(const Record& record, Output& out) const {
    if (!record.has_value()) return {};
    const std::string_view document = record.value();
    json::Walker walker(document);
    Text text;
    size_t done = 0;
    while (walker.next()) {
      bool secret = false;
      for (const auto field : fields) secret = secret || walker.named(field);
      if (!secret) continue;
      const size_t size = walker.take().size();
      text << document.substr(done, walker.start() - done);
      json::quote(text, with);
      done = walker.start() + size;
    }
    if (walker.failed()) return walker.why();
    if (done != 0) out.set_value(text << document.substr(done));
    return {};
  }
};

MILLRACE_MAP(redact, Redact{});

// One small transform of each kind: what an SDK offers, at a glance.
#include <millrace/module.h>

#include <unordered_set>

using namespace millrace;

MILLRACE_FILTER(has_error, [](const Record& record) {
  return record.value().find("error") != std::string_view::npos;
});

// A header says how long the value is, and the key loses its case.
MILLRACE_MAP(label, [](const Record& record, Output& out) {
  std::string key(record.key());
  for (char& c : key) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  if (record.has_key()) out.set_key(key);
  out.add_header("bytes", (Text() << record.value().size()).view());
});

MILLRACE_FILTER_MAP(trim, [](const Record& record, Output& out) {
  auto value = record.value();
  while (value.starts_with(' ')) value.remove_prefix(1);
  while (value.ends_with(' ')) value.remove_suffix(1);
  out.set_value(value);
  return !value.empty();
});

// What stands before the first ':' is the topic that the record goes to, in a pipeline of several.
MILLRACE_MAP(route, [](const Record& record, Output& out) {
  const auto value = record.value();
  const auto colon = value.find(':');
  if (colon == std::string_view::npos) return;
  out.add_header("millrace.output", value.substr(0, colon));
  out.set_value(value.substr(colon + 1));
});

MILLRACE_EXPAND(lines, [](const Record& record, Emit& emit) -> Status {
  auto left = record.value();
  while (!left.empty()) {
    const auto line = left.substr(0, left.find('\n'));
    if (line == "stop") return failure("line 'stop'");
    emit().set_value(line);
    left.remove_prefix(line.size() < left.size() ? line.size() + 1 : line.size());
  }
  return {};
});

MILLRACE_AGGREGATE(count, [](const Record& record, State& state, Emit& emit) -> Status {
  if (record.value() == "forget") {
    state.clear();
    return {};
  }
  const auto known = json::number(state.value());
  Text text;
  text << static_cast<int64_t>(known.value_or(0)) + 1;
  state.set(text);
  emit().set_value(text);
  if (record.value() == "fail") return failure("as asked");
  return {};
});

// The last characters of a text, stars for the rest.
MILLRACE_SCALAR(mask, [](std::string_view text, int64_t shown) -> Result<std::string_view> {
  if (shown < 0) return failure("mask shows at least 0, not ", shown);
  Text masked;
  for (size_t i = 0; i < text.size(); ++i)
    masked << (static_cast<int64_t>(text.size() - i) > shown ? '*' : text[i]);
  return masked.view();
});

MILLRACE_SCALAR(area, [](double width, std::optional<double> height) {
  return width * height.value_or(1);
});
MILLRACE_SCALAR(even, [](int64_t number) { return number % 2 == 0; });

/// Drops records whose keys were among the topic's last when the module began.
struct Unseen {
  std::unordered_set<std::string> seen;
  Status look_back(const Record& record) {
    seen.emplace(record.key());
    return {};
  }
  bool operator()(const Record& record) const { return !seen.contains(std::string(record.key())); }
};
MILLRACE_FILTER(unseen, Unseen{});
MILLRACE_LOOK_BACK(unseen);

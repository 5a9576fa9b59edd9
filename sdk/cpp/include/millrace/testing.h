#pragma once
// Runs a transform on records natively: compile the module's source and a test with the machine's
// own compiler.
//
//     #include "module.cc"
//     #include <millrace/testing.h>
//     int main() { return millrace::testing::check_file("cases.jsonl", "errors"); }
//
// A case is a line of JSON; sdk/cases.jsonl of Millrace has many. docs/modules.md says what stands
// in one.
#include <cstdio>
#include <fstream>
#include <map>
#include <vector>

#include "millrace/module.h"

namespace millrace::testing {

/// A value of JSON, for cases.
struct Json {
  json::Kind kind = json::Kind::kNull;
  std::string name;         // of a member
  std::string text;         // of a string its content; else as written
  std::vector<Json> items;  // of an array, or members

  const Json* find(std::string_view member) const {
    for (const Json& item : items) {
      if (item.name == member) return &item;
    }
    return nullptr;
  }
  std::string string(std::string_view member) const {
    const Json* value = find(member);
    return value == nullptr ? std::string() : value->text;
  }
  int64_t number(std::string_view member, int64_t otherwise = 0) const {
    const Json* value = find(member);
    return value == nullptr ? otherwise : std::stoll(value->text);
  }
  /// The items of a member; none when there is no such member.
  const std::vector<Json>& array(std::string_view member) const {
    static const std::vector<Json> none;
    const Json* value = find(member);
    return value == nullptr ? none : value->items;
  }
};

/// Nothing where `text` is no JSON object.
inline std::optional<Json> parse(std::string_view text) {
  json::Walker walker(text);
  std::vector<Json*> open;
  Json document;
  document.kind = json::Kind::kObject;
  open.push_back(&document);
  while (walker.next()) {
    open.resize(static_cast<size_t>(walker.depth()));
    Json* value = &open.back()->items.emplace_back();
    if (open.back()->kind == json::Kind::kObject) value->name = json::decode(walker.name());
    value->kind = walker.kind();
    if (value->kind <= json::Kind::kArray) {
      open.push_back(value);
    } else {
      value->text = json::text(walker.take());
    }
  }
  if (walker.failed()) return std::nullopt;
  return document;
}

using Bytes = std::optional<std::string>;

struct Record {
  Bytes key, value;
  std::vector<std::pair<std::string, Bytes>> headers;
  int64_t timestamp = 0;
  uint32_t input = 0;
};

/// What one batch gave.
struct Run {
  std::string failure;  // why the whole of it failed; else empty
  std::vector<Record> records;
  std::vector<std::pair<uint32_t, std::string>> errors;
  std::map<Bytes, Bytes> states;
};

using Parameters = std::vector<std::pair<std::string, std::string>>;

namespace detail {

inline Bytes bytes(const char* at, int32_t size) {
  if (size < 0) return std::nullopt;
  return std::string(millrace::detail::view(at, size));
}
inline const char* at(const Bytes& bytes) { return bytes ? bytes->data() : nullptr; }
inline int32_t size(const Bytes& bytes) { return bytes ? static_cast<int32_t>(bytes->size()) : -1; }

/// Records as the host would write them; views of those that it is made of.
struct Input {
  std::vector<std::vector<abi::Header>> headers;
  std::vector<abi::Record> records;
  std::vector<abi::State> states;
  abi::Batch batch{};

  explicit Input(const std::vector<Record>& from) {
    for (const Record& record : from) {
      auto& own = headers.emplace_back();
      for (const auto& [name, value] : record.headers) {
        own.push_back({name.data(), static_cast<uint32_t>(name.size()), at(value), size(value)});
      }
      records.push_back({record.timestamp, -1, at(record.key), size(record.key), at(record.value),
                         size(record.value), own.data(), static_cast<uint32_t>(own.size()), 0, 0});
    }
    batch = {1, static_cast<uint32_t>(records.size()), records.data(), 0, nullptr, 0, nullptr, {}};
  }

  /// The states of the keys in it, in the order in which they come.
  void add_states(const std::vector<Record>& from, const std::map<Bytes, Bytes>& known) {
    std::map<Bytes, uint32_t> index;
    for (size_t i = 0; i < from.size(); ++i) {
      const auto [found, fresh] = index.emplace(from[i].key, static_cast<uint32_t>(states.size()));
      records[i].state = found->second;
      if (!fresh) continue;
      const auto state = known.find(from[i].key);
      static const Bytes none;
      const Bytes& value = state == known.end() ? none : state->second;
      states.push_back({at(from[i].key), size(from[i].key), at(value), size(value)});
    }
    batch.state_count = static_cast<uint32_t>(states.size());
    batch.states = states.data();
  }
};

}  // namespace detail

inline millrace::detail::Registered* find(std::string_view name) {
  auto* transform = millrace::detail::Registered::first;
  while (transform != nullptr && transform->name != name) transform = transform->next;
  return transform;
}

/// Starts transform `name` anew with `parameters` and the topic's last records; why it refused, or
/// nothing.
inline std::string start(std::string_view name, const Parameters& parameters,
                         const std::vector<Record>& look_back = {}) {
  auto* transform = find(name);
  if (transform == nullptr) return "no transform is called " + std::string(name);
  transform->restart();
  std::vector<Record> records(1);
  for (const auto& [key, value] : parameters) records[0].headers.emplace_back(key, value);
  detail::Input given(records);
  abi::failed.clear();
  abi::arena.reset();
  if (!transform->init(&given.batch)) return abi::failed;
  if (look_back.empty()) return {};
  if (transform->look_back == nullptr) return "it does not look back";
  detail::Input last(look_back);
  return transform->look_back(&last.batch) ? std::string() : abi::failed;
}

/// Gives one batch to a transform that was started.
inline Run run(std::string_view name, const std::vector<Record>& records,
               const std::map<Bytes, Bytes>& states = {}) {
  Run run;
  auto* transform = find(name);
  if (transform == nullptr) {
    run.failure = "no transform is called " + std::string(name);
    return run;
  }
  detail::Input input(records);
  if (transform->kind == "aggregate") input.add_states(records, states);
  abi::arena.reset();
  const abi::Batch* out = transform->run(&input.batch);
  if (out == nullptr) {
    run.failure = abi::failed;
    return run;
  }
  for (uint32_t i = 0; i < out->count; ++i) {
    const abi::Record& raw = out->records[i];
    Record& record = run.records.emplace_back();
    record.key = detail::bytes(raw.key, raw.key_size);
    record.value = detail::bytes(raw.value, raw.value_size);
    record.timestamp = raw.timestamp;
    record.input = raw.input;
    for (uint32_t h = 0; h < raw.header_count; ++h) {
      const abi::Header& header = raw.headers[h];
      record.headers.emplace_back(std::string(header.name, header.name_size),
                                  detail::bytes(header.value, header.value_size));
    }
  }
  for (uint32_t i = 0; i < out->error_count; ++i) {
    run.errors.emplace_back(out->errors[i].input,
                            std::string(out->errors[i].message, out->errors[i].message_size));
  }
  for (uint32_t i = 0; i < out->state_count; ++i) {
    const abi::State& state = out->states[i];
    run.states[detail::bytes(state.key, state.key_size)] =
        detail::bytes(state.value, state.value_size);
  }
  return run;
}

namespace detail {

inline std::string show(const Bytes& bytes) { return bytes ? "'" + *bytes + "'" : "null"; }

inline std::string show(const Run& run) {
  std::string out;
  if (!run.failure.empty()) return "  failed: " + run.failure + "\n";
  for (const Record& record : run.records) {
    out += "  record of " + std::to_string(record.input) + ": key " + show(record.key) +
           ", value " + show(record.value) + ", timestamp " + std::to_string(record.timestamp);
    for (const auto& [name, value] : record.headers) out += ", header " + name + "=" + show(value);
    out += "\n";
  }
  for (const auto& [input, message] : run.errors)
    out += "  error of " + std::to_string(input) + ": " + message + "\n";
  for (const auto& [key, value] : run.states)
    out += "  state of " + show(key) + ": " + show(value) + "\n";
  return out;
}

inline Bytes text(const Json* value) {
  if (value == nullptr || value->kind == json::Kind::kNull) return std::nullopt;
  return value->text;
}

inline std::vector<Record> records(const std::vector<Json>& from) {
  std::vector<Record> out;
  for (const Json& item : from) {
    Record& record = out.emplace_back();
    record.key = text(item.find("key"));
    record.value = text(item.find("value"));
    record.timestamp = item.number("timestamp");
    record.input =
        static_cast<uint32_t>(item.number("input", static_cast<int64_t>(out.size()) - 1));
    for (const Json& header : item.array("headers"))
      record.headers.emplace_back(header.name, text(&header));
  }
  return out;
}

inline std::map<Bytes, Bytes> states(const Json& from) {
  std::map<Bytes, Bytes> out;
  for (const Json& state : from.array("states")) out[state.name] = text(&state);
  return out;
}

/// A SQL value as the host gives it, of {"VARCHAR": "x"}, {"BIGINT": 1}, {"DOUBLE": 0.5},
/// {"BOOLEAN": true} or null; in a result after its "input".
inline Bytes sql(const Json& from) {
  if (from.items.empty()) return std::nullopt;
  const Json& value = from.items.back();
  if (value.kind == json::Kind::kNull) return std::nullopt;
  const std::string& type = value.name;
  const auto raw = [](auto number) {
    return std::string(reinterpret_cast<const char*>(&number), sizeof(number));
  };
  if (type == "BIGINT") return raw(static_cast<int64_t>(std::stoll(value.text)));
  if (type == "DOUBLE") return raw(std::stod(value.text));
  if (type == "BOOLEAN") return raw(value.text == "true");
  return value.text;
}

inline std::vector<Record> rows(const Json& from) {
  std::vector<Record> out;
  for (const Json& row : from.array("rows")) {
    Record& record = out.emplace_back();
    for (const Json& argument : row.items) record.headers.emplace_back("", sql(argument));
  }
  return out;
}

inline Run expected(const Json& from) {
  Run run;
  run.failure = from.string("failure");
  run.records = records(from.array("records"));
  run.states = states(from);
  for (const Json& result : from.array("results")) {
    Record& record = run.records.emplace_back();
    record.value = sql(result);
    record.input =
        static_cast<uint32_t>(result.number("input", static_cast<int64_t>(run.records.size()) - 1));
  }
  for (const Json& error : from.array("errors")) {
    run.errors.emplace_back(static_cast<uint32_t>(error.number("input")), error.string("error"));
  }
  return run;
}

}  // namespace detail

/// Whether a case holds; says on standard error what was expected where it does not.
inline bool check(const Json& test) {
  const std::string name = test.string("transform");
  Parameters parameters;
  for (const Json& parameter : test.array("parameters"))
    parameters.emplace_back(parameter.name, parameter.text);
  Run got;
  got.failure = start(name, parameters, detail::records(test.array("look_back")));
  if (got.failure.empty()) {
    auto records = detail::records(test.array("records"));
    if (test.find("rows") != nullptr) records = detail::rows(test);
    got = run(name, records, detail::states(test));
  }
  const Json* expect = test.find("expect");
  const std::string want = detail::show(detail::expected(expect == nullptr ? Json{} : *expect)),
                    have = detail::show(got);
  if (want == have) return true;
  std::fprintf(stderr, "%s: %s\n expected\n%s but got\n%s", name.c_str(),
               test.string("case").c_str(), want.c_str(), have.c_str());
  return false;
}

/// Checks the cases of `file` that are of `module` ("": all); the exit code for main: 0 when there
/// are some and all hold.
inline int check_file(const std::string& file, std::string_view module = "") {
  std::ifstream lines(file);
  int passed = 0, failed = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    abi::arena.reset();
    const auto test = parse(line);
    if (!test) std::fprintf(stderr, "%s: not JSON: %s\n", file.c_str(), line.c_str());
    if (test && !module.empty() && test->string("module") != module) continue;
    ++(test && check(*test) ? passed : failed);
  }
  std::printf("%s: %d passed, %d failed\n",
              module.empty() ? file.c_str() : std::string(module).c_str(), passed, failed);
  return failed == 0 && passed != 0 ? 0 : 1;
}

}  // namespace millrace::testing

#include "app/detail/module_run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/json.hpp>
#include <iterator>
#include <map>
#include <sstream>

#include "app/detail/read_file.h"
#include "app/table_printer.h"
#include "wasm/chain.h"

namespace millrace::app {

namespace {

namespace json = boost::json;
using Bytes = std::optional<std::string>;

/// The lines of a file, each a JSON object, with its number for errors.
Result<std::vector<json::object>> objects(const std::string& file) {
  MR_TRY(auto text, read_file(file));
  std::istringstream in(std::move(text));
  std::vector<json::object> out;
  std::string line;
  for (size_t number = 1; std::getline(in, line); ++number) {
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    boost::system::error_code failed;
    auto value = json::parse(line, failed);
    if (failed || !value.is_object()) {
      return Error{
          ErrorCode::kInvalidText, fmt::format("{}, line {}: not a JSON object", file, number),
          std::nullopt,
          R"(a line is like {"key":"a","value":"text","headers":{"h":"v"},"timestamp":0})"};
    }
    out.push_back(std::move(value.as_object()));
  }
  return out;
}

/// A string's content, null as null, and any other JSON as its text: a document may stand as it is.
Bytes bytes_of(const json::value* value) {
  if (!value || value->is_null()) return std::nullopt;
  if (value->is_string()) return std::string(value->as_string());
  return json::serialize(*value);
}

/// A SQL value as a guest is given it: {"VARCHAR": "x"}, {"BIGINT": 1}, {"DOUBLE": 0.5},
/// {"BOOLEAN": true}, or null.
Bytes sql_bytes(const json::value& value) {
  const auto* object = value.if_object();
  if (!object || object->empty()) return std::nullopt;
  const auto& last = *(object->end() - 1);
  const auto raw = [](auto number) {
    return std::string(reinterpret_cast<const char*>(&number), sizeof number);
  };
  if (last.value().is_null()) return std::nullopt;
  boost::system::error_code failed;
  if (last.key() == "BIGINT") return raw(last.value().to_number<int64_t>(failed));
  if (last.key() == "DOUBLE") return raw(last.value().to_number<double>(failed));
  if (last.key() == "BOOLEAN") return raw(last.value() == json::value(true));
  return bytes_of(&last.value());
}

wasm::RecordView view_of(const Bytes& key, const Bytes& value,
                         const std::vector<std::pair<std::string, Bytes>>& headers,
                         std::vector<wasm::HeaderView>& views) {
  views.clear();
  for (const auto& [name, text] : headers) views.push_back({name, text});
  return {.key = key, .value = value, .headers = views};
}

void add_records(wasm::OwnedBatch& batch, const json::array& from) {
  std::vector<wasm::HeaderView> views;
  for (const auto& item : from) {
    const auto* object = item.if_object();
    if (!object) continue;
    const Bytes key = bytes_of(object->if_contains("key"));
    const Bytes value = bytes_of(object->if_contains("value"));
    std::vector<std::pair<std::string, Bytes>> headers;
    if (const auto* given = object->if_contains("headers"); given && given->is_object()) {
      for (const auto& header : given->as_object()) {
        headers.emplace_back(header.key(), bytes_of(&header.value()));
      }
    }
    auto record = view_of(key, value, headers, views);
    if (const auto* at = object->if_contains("timestamp")) {
      boost::system::error_code failed;
      record.timestamp = at->to_number<int64_t>(failed);
    }
    batch.add(record);
  }
}

void add_rows(wasm::OwnedBatch& batch, const json::array& rows) {
  std::vector<wasm::HeaderView> views;
  for (const auto& row : rows) {
    std::vector<std::pair<std::string, Bytes>> arguments;
    if (!row.is_array()) continue;
    for (const auto& argument : row.as_array()) arguments.emplace_back("", sql_bytes(argument));
    batch.add(view_of(std::nullopt, std::nullopt, arguments, views));
  }
}

/// Bytes for people: text as it is, anything else in hexadecimal.
std::string shown(std::string_view bytes) {
  boost::system::error_code failed;
  json::parse(json::serialize(json::value(bytes)), failed);
  if (!failed) return std::string(bytes);
  return fmt::format("\\x{:02x}", fmt::join(std::vector<uint8_t>(bytes.begin(), bytes.end()), ""));
}
json::value json_of(const std::optional<std::string_view>& bytes) {
  return bytes ? json::value(shown(*bytes)) : json::value(nullptr);
}

/// States that a file gives, by key.
class GivenStates final : public wasm::StateReader {
 public:
  explicit GivenStates(const json::value* from) {
    if (!from || !from->is_object()) return;
    for (const auto& state : from->as_object()) known_[state.key()] = bytes_of(&state.value());
  }
  Result<> read(std::span<wasm::StateView> states) override {
    for (auto& state : states) {
      const auto found = known_.find(std::string(state.key.value_or("")));
      if (found != known_.end()) state.value = found->second;
    }
    return {};
  }
  void change(std::span<const wasm::StateView> states) {
    for (const auto& state : states) {
      auto& value = known_[std::string(state.key.value_or(""))];
      value = state.value ? Bytes(*state.value) : std::nullopt;
    }
  }
  json::object shown() const {
    json::object out;
    for (const auto& [key, value] : known_) out[app::shown(key)] = json_of(value);
    return out;
  }

 private:
  std::map<std::string, Bytes> known_;
};

/// What one batch gave.
struct Gave {
  std::vector<json::object> records;
  std::vector<json::object> errors;
  json::object states;
};

Result<Gave> run(ModuleRunner& runner, wasm::Step step, const wasm::OwnedBatch& batch,
                 const json::value* known) {
  const bool aggregate = step.module->find(step.transform) &&
                         step.module->find(step.transform)->kind == wasm::Kind::kAggregate;
  MR_TRY(auto chain, wasm::Chain::open(runner.engine(), {.place = "", .steps = {std::move(step)}}));
  MR_TRY(chain->start());
  GivenStates states(known);
  MR_TRY(auto output, chain->apply(batch.view(), aggregate ? &states : nullptr));
  Gave gave;
  for (const auto& record : output.records()) {
    json::object headers;
    for (const auto& header : record.headers) headers[shown(header.name)] = json_of(header.value);
    gave.records.push_back({{"input", record.input},
                            {"key", json_of(record.key)},
                            {"value", json_of(record.value)},
                            {"headers", std::move(headers)},
                            {"timestamp", record.timestamp}});
  }
  for (const auto& error : output.errors()) {
    gave.errors.push_back({{"input", error.input}, {"error", shown(error.message)}});
  }
  states.change(output.states());
  gave.states = states.shown();
  return gave;
}

std::string text_of(const json::value& value) {
  return value.is_string() ? std::string(value.as_string()) : json::serialize(value);
}

TextTable table_of(const Gave& gave) {
  TextTable table({"result", "input", "key", "value", "headers", "timestamp", "error"});
  table.numeric[1] = table.numeric[5] = table.raw_json[4] = true;
  const auto cell = [](const json::object& from, std::string_view name) -> Bytes {
    const auto* value = from.if_contains(name);
    if (!value || value->is_null()) return std::nullopt;
    return text_of(*value);
  };
  for (const auto& record : gave.records) {
    table.add({"record", cell(record, "input"), cell(record, "key"), cell(record, "value"),
               cell(record, "headers"), cell(record, "timestamp"), std::nullopt});
  }
  for (const auto& error : gave.errors) {
    table.add({"error", cell(error, "input"), {}, {}, {}, {}, cell(error, "error")});
  }
  for (const auto& state : gave.states) {
    table.add({"state", {}, std::string(state.key()), cell(gave.states, state.key()), {}, {}, {}});
  }
  return table;
}

/// The same of what a case expects, so that the two compare as text.
Gave expected(const json::object& expect) {
  Gave want;
  const auto array = [&](const char* name) {
    const auto* value = expect.if_contains(name);
    return value && value->is_array() ? value->as_array() : json::array();
  };
  const auto input = [](const json::value& from, size_t otherwise) {
    const auto* object = from.if_object();
    const auto* at = object ? object->if_contains("input") : nullptr;
    return at ? *at : json::value(otherwise);
  };
  const auto part = [](const json::object& from, const char* name, json::value otherwise) {
    const auto* value = from.if_contains(name);
    return value ? *value : otherwise;
  };
  for (const auto& item : array("records")) {
    const auto& from = item.as_object();
    want.records.push_back({{"input", input(item, want.records.size())},
                            {"key", part(from, "key", nullptr)},
                            {"value", part(from, "value", nullptr)},
                            {"headers", part(from, "headers", json::object())},
                            {"timestamp", part(from, "timestamp", 0)}});
  }
  for (const auto& item : array("results")) {
    const Bytes bytes = sql_bytes(item);
    want.records.push_back({{"input", input(item, want.records.size())},
                            {"key", nullptr},
                            {"value", bytes ? json_of(*bytes) : json::value(nullptr)},
                            {"headers", json::object()},
                            {"timestamp", 0}});
  }
  for (const auto& item : array("errors")) want.errors.push_back(item.as_object());
  if (const auto* states = expect.if_contains("states")) {
    // By key, as those that came.
    std::map<std::string, json::value> sorted;
    for (const auto& state : states->as_object()) sorted[state.key()] = state.value();
    for (const auto& [key, value] : sorted) want.states[key] = value;
  }
  return want;
}

wasm::Step step_of(std::shared_ptr<wasm::Module> module, const json::object& test) {
  wasm::Step step{.module = std::move(module), .transform = ""};
  if (const auto* name = test.if_contains("transform")) step.transform = text_of(*name);
  if (const auto* given = test.if_contains("parameters"); given && given->is_object()) {
    for (const auto& one : given->as_object())
      step.params.emplace_back(one.key(), text_of(one.value()));
  }
  if (const auto* last = test.if_contains("look_back"); last && last->is_array()) {
    auto batch = std::make_shared<wasm::OwnedBatch>();
    add_records(*batch, last->as_array());
    step.look_back = std::move(batch);
  }
  return step;
}

/// Nothing when the case holds; else what is wrong.
std::string check(ModuleRunner& runner, std::shared_ptr<wasm::Module> module,
                  const json::object& test) {
  wasm::OwnedBatch batch;
  if (const auto* rows = test.if_contains("rows")) {
    add_rows(batch, rows->is_array() ? rows->as_array() : json::array());
  } else if (const auto* records = test.if_contains("records")) {
    add_records(batch, records->is_array() ? records->as_array() : json::array());
  }
  const auto* expect = test.if_contains("expect");
  const json::object want = expect && expect->is_object() ? expect->as_object() : json::object();
  auto gave = run(runner, step_of(std::move(module), test), batch, test.if_contains("states"));
  if (const auto* failure = want.if_contains("failure")) {
    if (gave) return "expected to fail: " + text_of(*failure) + "\n";
    if (gave.error().text.contains(text_of(*failure))) return "";
    return fmt::format("expected to fail: {}\nbut it failed: {}\n", text_of(*failure),
                       gave.error().text);
  }
  if (!gave) return "failed: " + gave.error().text + "\n";
  const auto wanted = render(table_of(expected(want)), Output::kTable);
  const auto have = render(table_of(*gave), Output::kTable);
  return wanted == have ? "" : fmt::format("expected\n{}but got\n{}", wanted, have);
}

Result<int> check_cases(ModuleRunner& runner, const std::shared_ptr<wasm::Module>& module,
                        const ModuleArguments& arguments) {
  MR_TRY(const auto cases, objects(arguments.cases));
  size_t passed = 0, failed = 0;
  for (const auto& test : cases) {
    const auto* of = test.if_contains("module");
    const auto* transform = test.if_contains("transform");
    if (!arguments.only.empty() && (!of || text_of(*of) != arguments.only)) continue;
    const std::string wrong = check(runner, module, test);
    ++(wrong.empty() ? passed : failed);
    if (wrong.empty()) continue;
    const auto* title = test.if_contains("case");
    fmt::print(stderr, "{}: {}\n{}", transform ? text_of(*transform) : "",
               title ? text_of(*title) : "", wrong);
  }
  fmt::print("{} passed, {} failed\n", passed, failed);
  if (passed + failed == 0)
    return Error{ErrorCode::kNotFound, arguments.cases + " has no such case"};
  return failed == 0 ? kOk : kFailed;
}

}  // namespace

Result<std::unique_ptr<ModuleRunner>> ModuleRunner::start() {
  auto runner = std::make_unique<ModuleRunner>();
  runner->env_ = io::make_real_env();
  const auto log = [](const wasm::LogLine& line) {
    fmt::print(stderr, "{} {}: {}\n", wasm::to_string(line.level), line.transform,
               shown(line.text));
  };
  MR_TRY(runner->engine_,
         wasm::Engine::start(*runner->env_,
                             {.lanes = 1, .cache_folder = "", .instances_max = 8, .log = log}));
  return runner;
}

Result<std::shared_ptr<wasm::Module>> ModuleRunner::load(const std::filesystem::path& file) {
  MR_TRY(const auto bytes, read_file(file.string()));
  auto loaded = engine_->load(bytes);
  if (loaded) return loaded;
  Error error = std::move(loaded).error();
  error.text = file.string() + ": " + error.text;
  return error;
}

Result<int> test_module(const ModuleArguments& arguments) {
  if (arguments.records.empty() == arguments.cases.empty()) {
    fmt::print(stderr, "millrace: --records or --cases says what to run it on\n");
    return kUsage;
  }
  MR_TRY(auto runner, ModuleRunner::start());
  MR_TRY(auto module, runner->load(arguments.file));
  if (!arguments.cases.empty()) return check_cases(*runner, module, arguments);
  wasm::Step step{.module = module, .transform = arguments.transform};
  if (step.transform.empty()) {
    if (module->transforms().size() != 1) {
      std::vector<std::string> names;
      for (const auto& one : module->transforms()) names.push_back(one.name);
      return Error{ErrorCode::kInvalidArgument, arguments.file + " has several transforms",
                   std::nullopt, fmt::format("--transform {}", fmt::join(names, " | "))};
    }
    step.transform = module->transforms()[0].name;
  }
  for (const auto& given : arguments.parameters) {
    const size_t equals = given.find('=');
    if (equals == given.npos) {
      return Error{ErrorCode::kInvalidArgument, fmt::format("\"{}\" is not name=value", given)};
    }
    step.params.emplace_back(given.substr(0, equals), given.substr(equals + 1));
  }
  const auto batch_of = [](const std::vector<json::object>& lines) {
    auto batch = std::make_shared<wasm::OwnedBatch>();
    add_records(*batch, json::array(lines.begin(), lines.end()));
    return batch;
  };
  if (!arguments.look_back.empty()) {
    MR_TRY(const auto last, objects(arguments.look_back));
    step.look_back = batch_of(last);
  }
  MR_TRY(const auto lines, objects(arguments.records));
  MR_TRY(const auto gave, run(*runner, std::move(step), *batch_of(lines), nullptr));
  fmt::print("{}", render(table_of(gave), arguments.output));
  return kOk;
}

}  // namespace millrace::app

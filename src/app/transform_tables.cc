#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <duckdb/common/types/timestamp.hpp>

#include "app/system_tables.h"
#include "catalog/function.h"
#include "catalog/pipeline.h"

namespace millrace::app {

namespace {

using catalog::Transform;
using duckdb::LogicalType;
using duckdb::Value;
using Rows = std::vector<std::vector<Value>>;

const LogicalType kText = LogicalType::VARCHAR;
const LogicalType kNumber = LogicalType::BIGINT;
const LogicalType kSmall = LogicalType::INTEGER;
const LogicalType kTime = LogicalType::TIMESTAMP_TZ;

sql::RelationColumn column(std::string name, LogicalType type) {
  return {.name = std::move(name), .type = std::move(type)};
}
Value number(uint64_t n) { return Value::BIGINT(static_cast<int64_t>(n)); }

/// A guest's bytes as text.
Value guest_text(std::string text) {
  if (!duckdb::Value::StringIsValid(text)) {
    for (char& c : text) {
      if (static_cast<unsigned char>(c) >= 0x80 || c == '\0') c = '?';
    }
  }
  return Value(std::move(text));
}

sql::SystemTable functions(SystemSources from) {
  return {"functions",
          {column("name", kText), column("language", kText), column("exports", kText),
           column("hash", kText), column("bytes", kNumber), column("version", kNumber),
           column("owner", kText), column("used_by", LogicalType::LIST(kText))},
          [from]() -> Result<Rows> {
            Rows rows;
            const auto snapshot = from.catalog.snapshot();
            for (const auto* object : snapshot->list()) {
              if (object->kind != catalog::Kind::kFunction) continue;
              duckdb::vector<Value> users;
              for (const auto* user : snapshot->dependents(object->name)) {
                users.emplace_back(user->name);
              }
              const auto option = [&](const char* name) {
                const auto at = object->options.find(name);
                return at == object->options.end() ? std::string() : at->second;
              };
              rows.push_back({Value(object->name), Value("wasm"),
                              Value(option(catalog::kModuleExports)),
                              Value(option(catalog::kModuleHash)),
                              Value(option(catalog::kModuleBytes)).DefaultCastAs(kNumber),
                              number(object->version), Value(object->owner),
                              Value::LIST(kText, std::move(users))});
            }
            return rows;
          }};
}

/// What the chains with this step have done: one for each group and user that it is for.
broker::TransformCounts counts_of(const std::vector<broker::TransformCounts>& all,
                                  const std::string& topic, const Transform& step) {
  broker::TransformCounts sum;
  for (const auto& each : all) {
    if (each.topic != topic || std::ranges::find(each.steps, step) == each.steps.end()) continue;
    sum.paused |= each.paused;
    broker::add(sum, each);
  }
  return sum;
}

/// What a step of a topic's transforms and one of a pipeline have in common: the columns up to
/// `memory_bytes`. `done` is of the chain that it stands in.
std::vector<Value> row_of(Value name, Value topic, int32_t position, const Transform& step,
                          const std::string& owner, std::string state, const auto& done) {
  return {std::move(name),
          std::move(topic),
          Value::INTEGER(position),
          Value(step.function),
          Value(step.export_name),
          Value(std::string(catalog::name_of(step.place))),
          step.group.empty() ? Value(kText) : Value(step.group),
          step.user.empty() ? Value(kText) : Value(step.user),
          Value(std::string(catalog::name_of(step.on_error))),
          Value(owner),
          Value(std::move(state)),
          number(done.batches),
          number(done.failures),
          number(done.records_in),
          number(done.records_out),
          number(done.record_errors),
          Value::DOUBLE(static_cast<double>(done.cpu_ns) / 1e6),
          number(done.memory_bytes)};
}

/// The steps of a pipeline; what it has done is the whole chain's.
void add_pipeline(Rows& rows, const catalog::Object& pipeline,
                  const std::vector<broker::PipelineStatus>& all) {
  broker::PipelineStatus done;
  done.state = "failed";
  done.reason = "it was not started: the node's log says why";
  const auto found = std::ranges::find(all, pipeline.name, &broker::PipelineStatus::name);
  if (found != all.end()) done = *found;
  const auto topics = [&](const char* list) {
    return Value(fmt::format("{}", fmt::join(catalog::pipeline_topics(pipeline, list), ", ")));
  };
  int32_t position = 0;
  for (const auto& step : pipeline.transforms) {
    auto row = row_of(Value(pipeline.name), topics(catalog::kPipelineInputs), ++position, step,
                      pipeline.owner, done.state, done);
    row.insert(row.end(),
               {topics(catalog::kPipelineOutputs), Value::BIGINT(done.lag), number(done.state_keys),
                number(done.state_bytes), done.reason.empty() ? Value(kText) : Value(done.reason)});
    rows.push_back(std::move(row));
  }
}

sql::SystemTable transforms(SystemSources from) {
  return {"transforms",
          {column("name", kText),
           column("topic", kText),
           column("position", kSmall),
           column("function", kText),
           column("export", kText),
           column("place", kText),
           column("group_id", kText),
           column("user_name", kText),
           column("on_error", kText),
           column("owner", kText),
           column("state", kText),
           column("batches", kNumber),
           column("failed_batches", kNumber),
           column("records_in", kNumber),
           column("records_out", kNumber),
           column("failed_records", kNumber),
           column("cpu_ms", LogicalType::DOUBLE),
           column("memory_bytes", kNumber),
           column("outputs", kText),
           column("lag", kNumber),
           column("state_keys", kNumber),
           column("state_bytes", kNumber),
           column("reason", kText)},
          [from]() -> Result<Rows> {
            Rows rows;
            const auto counts = from.transforms.counts();
            const auto pipelines = from.pipelines.status();
            const auto snapshot = from.catalog.snapshot();
            for (const auto* object : snapshot->list()) {
              int32_t position = 0;
              if (object->kind == catalog::Kind::kPipeline) {
                add_pipeline(rows, *object, pipelines);
                continue;
              }
              for (const auto& step : object->transforms) {
                const auto done = counts_of(counts, object->name, step);
                auto row = row_of(Value(kText), Value(object->name), ++position, step, step.owner,
                                  done.paused ? "paused" : "on", done);
                row.insert(row.end(), {Value(kText), Value(kNumber), Value(kNumber), Value(kNumber),
                                       Value(kText)});
                rows.push_back(std::move(row));
              }
            }
            return rows;
          }};
}

sql::SystemTable module_logs(SystemSources from) {
  return {"module_logs",
          {column("logged_at", kTime), column("function", kText), column("hash", kText),
           column("place", kText), column("transform", kText), column("level", kText),
           column("text", kText)},
          [from]() -> Result<Rows> {
            Rows rows;
            for (auto& line : from.transforms.logs()) {
              rows.push_back({Value::TIMESTAMPTZ(duckdb::timestamp_tz_t(line.at * 1000)),
                              Value(line.function), Value(line.module), Value(line.place),
                              Value(line.transform), Value(line.level),
                              guest_text(std::move(line.text))});
            }
            return rows;
          }};
}

}  // namespace

std::vector<sql::SystemTable> transform_tables(SystemSources sources) {
  return {functions(sources), transforms(sources), module_logs(sources)};
}

}  // namespace millrace::app

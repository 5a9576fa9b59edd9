#include "flow/detail/sink_writer.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <duckdb/common/string_util.hpp>
#include <map>

#include "catalog/sink.h"

namespace millrace::flow {

namespace {

std::string envelope(std::optional<std::string_view> before, std::optional<std::string_view> after,
                     int64_t clock_ms) {
  return fmt::format(R"({{"before":{},"after":{},"op":"{}","ts_ms":{}}})", before.value_or("null"),
                     after.value_or("null"),
                     !before ? 'c'
                     : after ? 'u'
                             : 'd',
                     clock_ms);
}

/// One past the value that begins at `at`.
size_t end_of_value(std::string_view json, size_t at) {
  size_t depth = 0;
  bool quoted = false;
  for (; at < json.size(); ++at) {
    const char c = json[at];
    if (quoted) {
      if (c == '\\') ++at;
      if (c == '"') quoted = false;
      continue;
    }
    if (c == '"') quoted = true;
    if (depth == 0 && (c == ',' || c == '}' || c == ':')) return at;
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
  }
  return json.size();
}

}  // namespace

Result<std::vector<std::string_view>> values_of(std::string_view object) {
  std::vector<std::string_view> values;
  for (size_t at = 1; at + 1 < object.size();) {
    const size_t colon = end_of_value(object, at);
    const size_t end = end_of_value(object, colon + 1);
    if (end >= object.size())
      return Error{ErrorCode::kCorruptRecord, "a row of a changelog is no JSON object"};
    values.push_back(object.substr(colon + 1, end - colon - 1));
    at = end + 1;
  }
  return values;
}

Result<SinkWriter> SinkWriter::make(const catalog::Object& sink) {
  SinkWriter writer;
  writer.name_ = catalog::sink_topic(sink);
  const auto format = sink.options.at("sink.format");
  writer.format_ = format == "upsert"     ? Format::kUpsert
                   : format == "debezium" ? Format::kDebezium
                                          : Format::kPlain;
  const auto key = sink.options.find("sink.key");
  if (key == sink.options.end()) return writer;
  for (auto name : duckdb::StringUtil::Split(key->second, ',')) {
    duckdb::StringUtil::Trim(name);
    const auto found = std::ranges::find(sink.columns, name, &catalog::Column::name);
    if (found == sink.columns.end())
      return Error{ErrorCode::kInvalidConfig,
                   fmt::format("the key's column \"{}\" is none of the query's", name)};
    writer.key_.push_back({static_cast<size_t>(found - sink.columns.begin()),
                           boost::json::serialize(boost::json::string(name)) + ":"});
  }
  return writer;
}

Result<std::string> SinkWriter::key_of(std::string_view row) const {
  MR_TRY(const auto values, values_of(row));
  std::string key;
  for (const auto& column : key_) {
    if (column.index >= values.size())
      return Error{ErrorCode::kCorruptRecord, "a row of a changelog lacks columns"};
    key += key.empty() ? '{' : ',';
    key += column.json_name;
    key += values[column.index];
  }
  return key + "}";
}

Result<std::vector<SinkWriter::Change>> SinkWriter::by_key(const std::vector<Row>& rows) const {
  std::vector<Change> changes;
  std::map<std::string, size_t> places;
  for (const auto& row : rows) {
    MR_TRY(auto key, key_of(row.json));
    const auto [at, added] = places.emplace(key, changes.size());
    if (added) changes.push_back({std::move(key), {}, {}});
    auto& change = changes[at->second];
    auto& side = row.weight > 0 ? change.after : change.before;
    if (side || row.weight > 1 || row.weight < -1)
      return Error{ErrorCode::kUniqueViolation,
                   fmt::format("several rows of the sink's query have the key {}", change.key),
                   std::nullopt, "Name columns that tell its rows apart."};
    side = row.json;
  }
  return changes;
}

Result<std::vector<SinkWriter::Record>> SinkWriter::write(const std::vector<Row>& rows,
                                                          int64_t clock_ms) const {
  std::vector<Record> records;
  if (!key_.empty() && format_ != Format::kPlain) {
    MR_TRY(const auto changes, by_key(rows));
    for (auto& [key, before, after] : changes) {
      if (format_ == Format::kDebezium)
        records.push_back({key, envelope(before, after, clock_ms)});
      else
        records.push_back({key, after ? std::optional<std::string>(*after) : std::nullopt});
    }
    return records;
  }
  for (const auto& [json, weight] : rows) {
    Record record{{}, json};
    if (!key_.empty()) {
      MR_TRY(record.key, key_of(json));
    }
    const bool gone = weight < 0;
    if (gone && format_ == Format::kPlain)
      return Error{ErrorCode::kInternal, "a row of a sink of format 'plain' was taken back"};
    if (format_ == Format::kDebezium)
      record.value = gone ? envelope(json, {}, clock_ms) : envelope({}, json, clock_ms);
    records.insert(records.end(), static_cast<size_t>(std::abs(weight)), record);
  }
  return records;
}

}  // namespace millrace::flow

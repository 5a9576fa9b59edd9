#include "sql/format.h"

#include <fmt/format.h>

#include <limits>
#include <optional>

#include "log/record_walk.h"
#include "sql/detail/json_reader.h"
#include "sql/detail/json_values.h"

namespace millrace::sql {
namespace {

using duckdb::LogicalType;

/// The hidden columns, in the order that follows the declared ones.
enum class Hidden { kKey, kTimestamp, kPartition, kOffset, kHeaders };

bool is_raw(const catalog::Object& object) {
  if (object.columns.empty()) return true;
  const auto format = object.options.find("format");
  return object.kind == catalog::Kind::kTopic && format != object.options.end() &&
         format->second == "raw";
}

void add_hidden(std::vector<RelationColumn>& columns) {
  const auto add = [&](const char* name, LogicalType type) {
    columns.push_back({name, std::move(type), false, true});
  };
  add("_key", LogicalType::BLOB);
  add("_timestamp", LogicalType::TIMESTAMP_TZ);
  add("_partition", LogicalType::INTEGER);
  add("_offset", LogicalType::BIGINT);
  add("_headers", LogicalType::MAP(LogicalType::VARCHAR, LogicalType::BLOB));
}

/// The part of `batches` that holds the offsets in [from, until), found by the batches' heads.
std::string_view trim(std::string_view batches, Offset from, Offset until) {
  size_t begin = 0, end = 0;
  while (end < batches.size()) {
    const auto head = log::parse_batch_header(batches.substr(end));
    if (!head || head->total_bytes() > batches.size() - end) return batches.substr(begin);
    if (head->base_offset >= until) break;
    end += head->total_bytes();
    if (head->last_offset() < from) begin = end;
  }
  return batches.substr(begin, end - begin);
}

class RecordDecoder final : public Decoder {
 public:
  struct HiddenTarget {
    Hidden which;
    size_t target;
  };
  struct Plan {
    std::vector<LogicalType> types;
    std::unique_ptr<JsonReader> json;  // null: raw
    std::optional<size_t> raw_target;  // the column that takes a raw value
    bool raw_text = false;             // which must be UTF-8
    std::vector<HiddenTarget> hidden;
    std::optional<size_t> row_id, tombstone;
    std::optional<std::string> needed;  // a column of a topic that is NOT NULL
  };
  explicit RecordDecoder(Plan plan) : plan_(std::move(plan)) {
    for (const auto& hidden : plan_.hidden) wants_headers_ |= hidden.which == Hidden::kHeaders;
  }

  const std::vector<LogicalType>& types() const override { return plan_.types; }

  Result<> decode(std::string_view batches, int32_t partition, Offset from, Offset until,
                  duckdb::DataChunk& out, const std::function<void(duckdb::DataChunk&)>& full,
                  std::vector<BadRecord>* bad) override {
    batches = trim(batches, from, until);
    if (plan_.json) plan_.json->begin(out);
    return log::walk_records(batches, wants_headers_, [&](const log::RecordView& record) {
      if (record.offset < from || record.offset >= until) return;
      const size_t row = out.size();
      if (!read_row(record, batches, out, row)) {
        if (bad) report(record, *bad);
        return;
      }
      write_hidden(record, partition, out, row);
      out.SetCardinality(row + 1);
      if (row + 1 < STANDARD_VECTOR_SIZE) return;
      full(out);
      if (plan_.json) plan_.json->begin(out);
    });
  }

 private:
  bool read_row(const log::RecordView& record, std::string_view batches, duckdb::DataChunk& out,
                size_t row);
  void write_hidden(const log::RecordView& record, int32_t partition, duckdb::DataChunk& out,
                    size_t row);
  void report(const log::RecordView& record, std::vector<BadRecord>& bad) const;

  Plan plan_;
  bool wants_headers_ = false;
  std::string reason_;
};

bool RecordDecoder::read_row(const log::RecordView& record, std::string_view batches,
                             duckdb::DataChunk& out, size_t row) {
  try {
    if (!record.value && plan_.needed) {
      reason_ = fmt::format("column {}: NOT NULL, and the record has no value", *plan_.needed);
      return false;
    }
    if (plan_.tombstone) put(out.data[*plan_.tombstone], row, !record.value.has_value());
    if (plan_.json) {
      if (!record.value) {
        plan_.json->read_nothing(out, row);
        return true;
      }
      // A value inside `batches` may be read past its end, up to theirs; a decompressed one not.
      const std::string_view value = *record.value;
      const auto begin = reinterpret_cast<uintptr_t>(batches.data());
      const auto at = reinterpret_cast<uintptr_t>(value.data());
      const bool inside = at >= begin && at < begin + batches.size();
      const size_t readable = inside ? begin + batches.size() - at : value.size();
      if (plan_.json->read(value, readable, out, row)) return true;
      reason_ = plan_.json->reason();
      return false;
    }
    if (!plan_.raw_target) return true;
    if (!record.value) {
      put_null(out.data[*plan_.raw_target], row);
      return true;
    }
    if (plan_.raw_text && !simdjson::validate_utf8(record.value->data(), record.value->size())) {
      reason_ = "not valid UTF-8";
      return false;
    }
    put_string(out.data[*plan_.raw_target], row, *record.value);
    return true;
  } catch (const std::exception& e) {
    reason_ = duckdb::ErrorData(e).RawMessage();
    return false;
  }
}

void put_headers(const std::vector<log::Header>& headers, duckdb::Vector& into, size_t row) {
  const size_t offset = duckdb::ListVector::GetListSize(into);
  size_t count = 0;
  for (size_t i = 0; i < headers.size(); ++i) {
    // A map has a key once; of equal ones the last counts.
    bool again = false;
    for (size_t j = i + 1; j < headers.size() && !again; ++j)
      again = headers[j].key == headers[i].key;
    if (again) continue;
    if (offset + count >= duckdb::ListVector::GetListCapacity(into))
      duckdb::ListVector::Reserve(into, 2 * (offset + count) + 8);
    put_string(duckdb::MapVector::GetKeys(into), offset + count, headers[i].key);
    auto& values = duckdb::MapVector::GetValues(into);
    if (headers[i].value) {
      put_string(values, offset + count, *headers[i].value);
    } else {
      put_null(values, offset + count);
    }
    ++count;
    duckdb::ListVector::SetListSize(into, offset + count);
  }
  put(into, row, duckdb::list_entry_t(offset, count));
}

void RecordDecoder::write_hidden(const log::RecordView& record, int32_t partition,
                                 duckdb::DataChunk& out, size_t row) {
  if (plan_.row_id) put<int64_t>(out.data[*plan_.row_id], row, record.offset);
  for (const auto& [which, target] : plan_.hidden) {
    duckdb::Vector& into = out.data[target];
    switch (which) {
      case Hidden::kKey:
        if (record.key) {
          put_string(into, row, *record.key);
        } else {
          put_null(into, row);
        }
        break;
      case Hidden::kTimestamp: {
        int64_t us = 0;  // -1: the producer gave none
        if (record.timestamp < 0 || __builtin_mul_overflow(record.timestamp, 1000, &us)) {
          put_null(into, row);
        } else {
          put(into, row, us);
        }
        break;
      }
      case Hidden::kPartition:
        put(into, row, partition);
        break;
      case Hidden::kOffset:
        put<int64_t>(into, row, record.offset);
        break;
      case Hidden::kHeaders:
        put_headers(record.headers, into, row);
        break;
    }
  }
}

void RecordDecoder::report(const log::RecordView& record, std::vector<BadRecord>& bad) const {
  BadRecord b;
  b.offset = record.offset;
  b.timestamp = record.timestamp;
  b.key = record.key;
  b.value = record.value;
  b.reason = reason_;
  bad.push_back(std::move(b));
}

/// What is asked of each column of columns_of().
using AskedOf = std::vector<std::vector<JsonReader::Asked>>;

Result<> plan_raw(const catalog::Object& topic, const std::vector<RelationColumn>& all,
                  const AskedOf& asked, RecordDecoder::Plan& plan) {
  if (topic.columns.size() > 1)
    return Error{ErrorCode::kNotSupported,
                 fmt::format("topic {} has format raw and {} columns: raw has one, of type BLOB or "
                             "VARCHAR",
                             topic.name, topic.columns.size())};
  const auto id = all[0].type.id();
  if (id != duckdb::LogicalTypeId::BLOB && id != duckdb::LogicalTypeId::VARCHAR)
    return Error{
        ErrorCode::kNotSupported,
        fmt::format("topic {} has format raw: its column {} must be BLOB or VARCHAR, not {}",
                    topic.name, all[0].name, all[0].type.ToString())};
  plan.raw_text = id == duckdb::LogicalTypeId::VARCHAR;
  if (!asked[0].empty()) plan.raw_target = asked[0][0].target;
  return {};
}

Result<> plan_json(size_t declared, const std::vector<RelationColumn>& all, AskedOf& asked,
                   RecordDecoder::Plan& plan) {
  std::vector<JsonReader::Column> columns;
  for (size_t i = 0; i < declared; ++i) {
    MR_TRY(Shape shape, shape_of(all[i].type));
    columns.push_back({all[i].name, std::move(shape), all[i].not_null, std::move(asked[i])});
  }
  plan.json = std::make_unique<JsonReader>(std::move(columns));
  return {};
}

}  // namespace

Result<std::vector<RelationColumn>> columns_of(const catalog::Object& object) {
  std::vector<RelationColumn> columns;
  for (const catalog::Column& column : object.columns) {
    auto type = parse_type(column.type);
    if (!type)
      return Error{type.error().code,
                   fmt::format("column {} of {}: {}", column.name, object.name, type.error().text)};
    columns.push_back({column.name, std::move(*type), column.not_null, false});
  }
  if (columns.empty()) columns.push_back({"value", LogicalType::BLOB, false, false});
  add_hidden(columns);
  return columns;
}

namespace {
constexpr size_t kFieldBits = 16;  // of the column, then of each field, plus one
constexpr size_t kFieldsMax = 3;
constexpr size_t kNumberMax = (size_t{1} << kFieldBits) - 2;
}  // namespace

std::optional<size_t> field_column(size_t column, std::span<const size_t> fields) {
  if (column > kNumberMax || fields.size() > kFieldsMax) return std::nullopt;
  size_t number = column;
  for (size_t i = 0; i < fields.size(); ++i) {
    if (fields[i] > kNumberMax) return std::nullopt;
    number |= (fields[i] + 1) << (kFieldBits * (i + 1));
  }
  return number;
}

FieldColumn read_field_column(size_t number) {
  constexpr size_t kMask = (size_t{1} << kFieldBits) - 1;
  FieldColumn out{number & kMask, {}};
  while ((number >>= kFieldBits) != 0) out.fields.push_back((number & kMask) - 1);
  return out;
}

Result<std::unique_ptr<Decoder>> Decoder::make(const catalog::Object& topic,
                                               std::vector<size_t> columns) {
  MR_TRY(const std::vector<RelationColumn> all, columns_of(topic));
  const size_t declared = std::max<size_t>(topic.columns.size(), 1);
  if (const auto format = topic.options.find("format");
      format != topic.options.end() && format->second != "json" && format->second != "raw")
    return Error{
        ErrorCode::kNotSupported,
        fmt::format("format {} of topic {}: it may be json or raw", format->second, topic.name)};
  RecordDecoder::Plan plan;
  if (topic.kind == catalog::Kind::kTopic) {  // elsewhere it takes a row away
    const auto needed = std::ranges::find_if(topic.columns, &catalog::Column::not_null);
    if (needed != topic.columns.end()) plan.needed = needed->name;
  }
  AskedOf asked(all.size());
  for (size_t target = 0; target < columns.size(); ++target) {
    const size_t column = columns[target];
    if (column == ScanRequest::kRowId) {
      plan.row_id = target;
      plan.types.push_back(LogicalType::BIGINT);
    } else if (column == kTombstone) {
      plan.tombstone = target;
      plan.types.push_back(LogicalType::BOOLEAN);
    } else {
      auto [whole, fields] = read_field_column(column);
      MR_CHECK(whole < all.size());
      auto type = all[whole].type;
      for (const size_t field : fields)
        type = LogicalType(duckdb::StructType::GetChildType(type, field));
      plan.types.push_back(std::move(type));
      if (whole >= declared) plan.hidden.push_back({static_cast<Hidden>(whole - declared), target});
      asked[whole].push_back({std::move(fields), target});
    }
  }
  if (is_raw(topic)) {
    MR_TRY(plan_raw(topic, all, asked, plan));
  } else {
    MR_TRY(plan_json(declared, all, asked, plan));
  }
  return std::unique_ptr<Decoder>(std::make_unique<RecordDecoder>(std::move(plan)));
}

}  // namespace millrace::sql

#include "sql/detail/topic_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <duckdb/common/types/column/column_data_collection.hpp>
#include <map>

#include "log/partitioner.h"
#include "log/record_batch.h"
#include "sql/detail/errors.h"
#include "sql/format.h"

namespace millrace::sql {
namespace {

constexpr size_t kBatchBytes = 512u << 10;

/// The bytes of a BLOB or VARCHAR; nothing for NULL.
std::optional<std::string_view> bytes_at(duckdb::Vector& column, size_t row) {
  if (duckdb::FlatVector::IsNull(column, row)) return std::nullopt;
  const auto& text = duckdb::FlatVector::GetData<duckdb::string_t>(column)[row];
  return std::string_view(text.GetData(), text.GetSize());
}

/// Rows in, batches for each partition out.
class Batches {
 public:
  Batches(Core& core, const broker::Topic& topic, const std::vector<RelationColumn>& columns)
      : core_(core), topic_(topic), columns_(columns), now_(core.env.now_ms()) {
    for (const auto& column : columns) visible_ += column.hidden ? 0 : 1;
  }

  Result<> start() {
    const auto format = topic_.object.options.find("format");
    raw_ = topic_.object.columns.empty() ||
           (format != topic_.object.options.end() && format->second == "raw");
    if (!raw_) {
      std::vector<std::string> names;
      std::vector<duckdb::LogicalType> types;
      for (size_t i = 0; i < visible_; ++i) {
        names.push_back(columns_[i].name);
        types.push_back(columns_[i].type);
      }
      MR_TRY(json_, JsonWriter::make(std::move(names), std::move(types)));
    }
    rotate();
    return {};
  }

  Result<> add(duckdb::DataChunk& chunk) {
    chunk.Flatten();
    // INSERT names hidden columns only in a list of columns; then all of them are here.
    const bool with_hidden = chunk.ColumnCount() > visible_;
    if (json_) json_->begin(chunk);
    for (size_t row = 0; row < chunk.size(); ++row) {
      MR_TRY(check_nulls(chunk, row));
      std::optional<std::string_view> key, value;
      auto timestamp = now_;
      if (with_hidden) {
        key = bytes_at(chunk.data[visible_], row);
        if (!duckdb::FlatVector::IsNull(chunk.data[visible_ + 1], row)) {
          timestamp =
              chunk.GetValue(visible_ + 1, row).GetValue<duckdb::timestamp_tz_t>().value / 1000;
        }
      }
      if (raw_) {
        value = bytes_at(chunk.data[0], row);
      } else {
        text_.clear();
        json_->write(row, text_);
        value = text_;
      }
      MR_TRY(auto partition, partition_of(chunk, row, with_hidden, key));
      put(partition, timestamp, key, value);
    }
    return {};
  }

  Result<> append() {
    for (auto& [index, open] : open_) {
      if (open.builder.count() > 0) open.batches += open.builder.finish();
      auto& partition = *topic_.partitions[index];
      MR_TRY(partition.shard().block_on(
          partition.append(std::move(open.batches), log::Ack::kDurable)));
    }
    return {};
  }

 private:
  struct Open {
    log::BatchBuilder builder;
    std::string batches;
  };

  void rotate() { sticky_ = core_.next_partition++ % topic_.partitions.size(); }

  void put(size_t index, TimestampMs timestamp, std::optional<std::string_view> key,
           std::optional<std::string_view> value) {
    auto& open = open_[index];
    const auto size = (key ? key->size() : 0) + (value ? value->size() : 0);
    if (open.builder.count() > 0 && open.builder.bytes() + size > kBatchBytes) {
      open.batches += open.builder.finish();
      if (index == sticky_) rotate();
    }
    open.builder.add(timestamp, key, value);
  }

  Result<> check_nulls(duckdb::DataChunk& chunk, size_t row) const {
    for (size_t i = 0; i < visible_; ++i) {
      if (columns_[i].not_null && duckdb::FlatVector::IsNull(chunk.data[i], row)) {
        return Error{ErrorCode::kNotNullViolation,
                     fmt::format("column \"{}\" of topic \"{}\" is NOT NULL", columns_[i].name,
                                 topic_.object.name)};
      }
    }
    return {};
  }

  Result<size_t> partition_of(duckdb::DataChunk& chunk, size_t row, bool with_hidden,
                              std::optional<std::string_view> key) const {
    const auto count = topic_.partitions.size();
    if (with_hidden) {
      const auto asked = chunk.GetValue(visible_ + 2, row);
      if (!asked.IsNull()) {
        const auto index = asked.GetValue<int32_t>();
        if (index >= 0 && static_cast<size_t>(index) < count) return static_cast<size_t>(index);
        return Error{ErrorCode::kUnknownPartition,
                     fmt::format("topic \"{}\" has no partition {}", topic_.object.name, index)};
      }
      for (const size_t refused : {visible_ + 3, visible_ + 4}) {
        if (duckdb::FlatVector::IsNull(chunk.data[refused], row)) continue;
        return Error{ErrorCode::kNotSupported,
                     fmt::format("{} cannot be inserted", columns_[refused].name)};
      }
    }
    if (key) return log::partition_of(*key, count);
    return sticky_;
  }

  Core& core_;
  const broker::Topic& topic_;
  const std::vector<RelationColumn>& columns_;
  TimestampMs now_;
  size_t visible_ = 0;
  bool raw_ = false;
  std::unique_ptr<JsonWriter> json_;
  std::string text_;
  size_t sticky_ = 0;  // where records without a key go, until a batch is full
  std::map<size_t, Open> open_;
};

}  // namespace

Result<uint64_t> append_rows(Core& core, const broker::Topic& topic,
                             const std::vector<RelationColumn>& columns,
                             std::vector<Change> changes) {
  return guarded([&]() -> Result<uint64_t> {
    Batches batches(core, topic, columns);
    MR_TRY(batches.start());
    uint64_t count = 0;
    for (const auto& change : changes) {
      if (change.kind != Change::Kind::kInsert) {
        return Error{
            ErrorCode::kNotSupported,
            fmt::format("topic \"{}\" is a log: rows can be inserted, not changed or deleted",
                        topic.object.name)};
      }
      duckdb::DataChunk chunk;
      change.rows->InitializeScanChunk(chunk);
      duckdb::ColumnDataScanState state;
      change.rows->InitializeScan(state);
      while (change.rows->Scan(state, chunk)) {
        MR_TRY(batches.add(chunk));
        count += chunk.size();
      }
    }
    MR_TRY(batches.append());
    return count;
  });
}

}  // namespace millrace::sql

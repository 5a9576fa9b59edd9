#include "sql/detail/topic_writer.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <duckdb/common/types/column/column_data_collection.hpp>

#include "log/record_batch.h"
#include "sql/detail/errors.h"
#include "sql/format.h"

namespace millrace::sql {
namespace {

constexpr size_t kBatchBytes = 512u << 10;

/// The value, or null: a tombstone.
std::optional<std::string_view> bytes_at(duckdb::Vector& column, size_t row) {
  if (duckdb::FlatVector::IsNull(column, row)) return std::nullopt;
  const auto& text = duckdb::FlatVector::GetData<duckdb::string_t>(column)[row];
  return std::string_view(text.GetData(), text.GetSize());
}

}  // namespace

Result<uint64_t> append_rows(Core& core, const broker::Topic& topic,
                             const std::vector<RelationColumn>& columns,
                             std::vector<Change> changes) {
  (void)core, (void)columns;
  for (const auto& change : changes) {
    if (change.kind != Change::Kind::kInsert) {
      return Error{
          ErrorCode::kNotSupported,
          fmt::format("topic \"{}\" is a log: rows can be inserted, not changed or deleted",
                      topic.object.name)};
    }
  }
  (void)kBatchBytes, (void)bytes_at;
  return Error{ErrorCode::kNotSupported, "INSERT into a topic"};
}

}  // namespace millrace::sql

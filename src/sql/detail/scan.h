#pragma once

#include <duckdb.hpp>
#include <duckdb/function/table_function.hpp>
#include <memory>

#include "sql/detail/storage.h"

namespace millrace::sql {

/// What a scan of one of our relations reads; the bind data of its LogicalGet.
struct ScanBind : duckdb::TableFunctionData {
  ScanBind(std::shared_ptr<EntrySet> set, const RelationEntry& entry)
      : entries(std::move(set)), entry(entry) {}

  std::shared_ptr<EntrySet> entries;  // keeps `entry` alive
  const RelationEntry& entry;
  // The bounds that the filters above the scan imply.
  Range<Offset> offsets;
  Range<TimestampMs> timestamps;
  std::optional<int32_t> partition;

  duckdb::unique_ptr<duckdb::FunctionData> Copy() const override;
  bool Equals(const duckdb::FunctionData& other) const override;
};

/// `planning`: no filters are looked at.
duckdb::TableFunction scan_function(bool planning);

/// The index into Relation::columns() that a scan's column id means; ScanRequest::kRowId for row
/// ids.
size_t relation_column_of(duckdb::column_t id);

}  // namespace millrace::sql

#pragma once

#include <duckdb.hpp>

#include "sql/detail/scan.h"

namespace millrace::sql {

/// Reads bounds on _offset, _timestamp and _partition out of the filters above a topic's scan and
/// leaves the filters as they are. A TableFunction's pushdown_complex_filter.
void read_bounds(duckdb::ClientContext& context, duckdb::LogicalGet& get,
                 duckdb::FunctionData* bind,
                 duckdb::vector<duckdb::unique_ptr<duckdb::Expression>>& filters);

/// The bounds as EXPLAIN shows them.
void describe_bounds(const ScanBind& bind,
                     duckdb::InsertionOrderPreservingMap<std::string>& result);

}  // namespace millrace::sql

#pragma once

#include <duckdb.hpp>

namespace millrace::sql {

/// Has queries refused that DuckDB 1.5.6 accepts and may never end, nor let be cancelled: ASOF
/// joins that keep rows of the right side. Not for an instance that only plans.
void register_query_guard(duckdb::DBConfig& config);

}  // namespace millrace::sql

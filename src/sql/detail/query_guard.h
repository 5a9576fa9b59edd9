#pragma once

#include <duckdb.hpp>

namespace millrace::sql {

/// Has queries refused that DuckDB 1.5.6 takes and should not: ASOF joins that keep rows of the
/// right side (they may never end, nor be cancelled) or compare by IS NOT DISTINCT FROM (rows whose
/// keys are NULL are left out). Not for an instance that only plans: our operator does both.
void register_query_guard(duckdb::DBConfig& config);

}  // namespace millrace::sql

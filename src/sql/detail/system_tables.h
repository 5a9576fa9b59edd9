#pragma once

#include <duckdb.hpp>
#include <duckdb/parser/sql_statement.hpp>

#include "sql/detail/core.h"

namespace millrace::sql {

/// Makes `millrace.<name>` of a FROM clause a call of the function that register_system_tables()
/// registers, when `name` is a system table's: an object of that name stays reachable as
/// public.<name>.
void rewrite_system_tables(duckdb::SQLStatement& statement);

/// Registers the function that reads them. With `planning` it refuses: a view's inputs are logs.
void register_system_tables(duckdb::DuckDB& instance, Core& core, bool planning);

}  // namespace millrace::sql

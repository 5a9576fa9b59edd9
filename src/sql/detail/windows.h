#pragma once

#include <duckdb.hpp>
#include <duckdb/parser/sql_statement.hpp>

namespace millrace::sql {

/// Replaces TUMBLE(rel, time, size) and HOP(rel, time, slide, size) in every FROM of `statement`
/// with plain SQL that gives all columns of `rel` plus window_start and window_end. Throws as
/// DuckDB's binder does.
void rewrite_windows(duckdb::SQLStatement& statement);

}  // namespace millrace::sql

#pragma once

#include <duckdb.hpp>
#include <duckdb/parser/sql_statement.hpp>
#include <string>

#include "base/result.h"
#include "sql/windows.h"

namespace millrace::sql {

// `JOIN t FOR SYSTEM_TIME AS OF e ON c` is nothing that DuckDB's parser takes. It becomes
// `JOIN t ON millrace_as_of(e) AND c`, as long as before, so that positions behind it stay; and in
// the parse tree an ASOF join (see kSystemTime) with `t AT (millrace_versions => true)`, which
// shows the hidden columns of the table's log.

/// The first step. Errors: kSyntax.
Result<std::string> carry_system_time(std::string sql);
/// The second. Throws as DuckDB's binder does.
void rewrite_system_time(duckdb::SQLStatement& statement);
/// What `AT (unit => …)` behind a table stands for: throws unless it is the rewriter's, in a query
/// that is planned to stand.
void refuse_time_travel(const std::string& unit, bool planning);
void register_system_time(duckdb::DuckDB& instance);

}  // namespace millrace::sql

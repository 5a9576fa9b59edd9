#pragma once

#include <duckdb.hpp>
#include <duckdb/parser/statement/select_statement.hpp>
#include <set>
#include <string>

#include "sql/windows.h"

namespace millrace::sql {

/// Parses `query`, which must be one SELECT, and rewrites its windows for `whom`. Throws as DuckDB
/// does.
duckdb::unique_ptr<duckdb::SelectStatement> parse_select(const std::string& query,
                                                         WindowsFor whom = WindowsFor::kView);

/// Refuses parameters in a view's query: it is asked without values for them. Throws CarriedError.
void refuse_parameters(duckdb::SelectStatement& statement);

/// The names of tables that the parse tree of `statement` holds, as written, unqualified.
std::set<std::string> table_names(duckdb::SelectStatement& statement);
/// Names of the functions that it calls.
std::set<std::string> function_names(duckdb::SelectStatement& statement);

}  // namespace millrace::sql

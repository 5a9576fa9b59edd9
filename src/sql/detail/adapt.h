#pragma once

#include <duckdb.hpp>
#include <duckdb/parser/sql_statement.hpp>

#include "catalog/catalog.h"
#include "sql/relation.h"

namespace millrace::sql {

/// What a session is to its statements.
struct SessionFacts {
  std::string user;
  std::string version;  // what version() says
};

/// Makes a parsed statement one that DuckDB can run over our catalog: windows in plain SQL, the
/// client's parameter types as casts, version() and the user's names ours, and statements refused
/// that would reach outside. Throws as DuckDB's binder does.
void adapt(duckdb::SQLStatement& statement, const SessionFacts& facts,
           const std::vector<duckdb::LogicalType>& parameter_types);

/// Takes ON CONFLICT and OR REPLACE out of an INSERT (DuckDB would make a MERGE of it) and gives
/// what they mean for the primary key. A topic's hidden columns in the column list make it an
/// insert into the topic's full form. Errors: kNotSupported, kUndefinedColumn.
Result<Change::Kind> take_conflict_clause(duckdb::SQLStatement& statement,
                                          const catalog::Snapshot& snapshot);

}  // namespace millrace::sql

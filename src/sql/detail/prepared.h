#pragma once

#include <duckdb.hpp>
#include <duckdb/main/prepared_statement.hpp>
#include <optional>

#include "sql/detail/ddl.h"
#include "sql/detail/statements.h"
#include "sql/engine.h"

namespace millrace::sql {

/// A statement of either kind, or an empty one.
struct PreparedOne : Statement {
  const std::vector<duckdb::LogicalType>& parameters() const override { return parameter_types; }
  const std::vector<std::string>& names() const override { return result_names; }
  const std::vector<duckdb::LogicalType>& types() const override { return result_types; }
  bool is_empty() const override { return !ours && !duck; }

  std::string sql;
  std::optional<OurStatement> ours;
  duckdb::unique_ptr<duckdb::PreparedStatement> duck;
  Change::Kind insert_kind = Change::Kind::kInsert;
  std::string verb;  // of the command tag
  std::vector<duckdb::LogicalType> parameter_types, result_types;
  std::vector<std::string> result_names;
};

/// A cursor over rows that are there already, or over none.
std::unique_ptr<Cursor> make_cursor(Listing rows, std::string tag);

/// The command tag's words for a DuckDB statement: "SELECT", "INSERT 0", "CREATE TABLE".
std::string verb_of(const std::vector<Token>& tokens, duckdb::StatementReturnType returns);

}  // namespace millrace::sql

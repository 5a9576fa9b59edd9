#pragma once

#include <duckdb.hpp>

#include <string>
#include <vector>

#include "base/result.h"
#include "flow/detail/evaluator.h"

namespace millrace::flow {

/// What a plan node's column references mean: which column of the chunk carries each binding.
struct Scope {
  std::vector<duckdb::ColumnBinding> bindings;
  std::vector<duckdb::LogicalType> types;
};

/// "... cannot be kept up to date in a materialized view", with the place in the query if known.
Error not_supported(const std::string& what, duckdb::optional_idx location = {});

/// Turns column references into references to the scope's columns. Errors: kNotSupported for
/// volatile functions, subqueries that the planner left, parameters.
Result<> resolve(duckdb::unique_ptr<duckdb::Expression>& expression, const Scope& scope);
Result<Expressions> resolve_all(Expressions& expressions, const Scope& scope);

Expressions copies_of(const Expressions& expressions);
duckdb::unique_ptr<duckdb::Expression> reference(const duckdb::LogicalType& type, size_t column);

/// What DuckDB threw, as our error: code by its kind, `where` before its text.
Error library_error(const std::exception& thrown, const std::string& where);

}  // namespace millrace::flow

#include "flow/detail/plan_expressions.h"

#include <fmt/format.h>

#include <duckdb/common/error_data.hpp>
#include <duckdb/planner/expression/bound_columnref_expression.hpp>
#include <duckdb/planner/expression/bound_function_expression.hpp>
#include <duckdb/planner/expression/bound_reference_expression.hpp>
#include <duckdb/planner/expression_iterator.hpp>

#include "sql/clock_conditions.h"

namespace millrace::flow {

namespace {

using duckdb::ExpressionClass;

Result<> resolve_column(duckdb::unique_ptr<duckdb::Expression>& expression, const Scope& scope) {
  const auto& column = expression->Cast<duckdb::BoundColumnRefExpression>();
  if (column.depth > 0) return not_supported("a correlated subquery", column.query_location);
  for (size_t i = 0; i < scope.bindings.size(); ++i) {
    if (scope.bindings[i] != column.binding) continue;
    auto resolved = duckdb::make_uniq<duckdb::BoundReferenceExpression>(column.GetName(),
                                                                        column.return_type, i);
    resolved->query_location = column.query_location;
    expression = std::move(resolved);
    return {};
  }
  return not_supported(fmt::format("the plan's reference to column {}", column.ToString()),
                       column.query_location);
}

Result<> check_function(const duckdb::BoundFunctionExpression& function) {
  if (function.function.name == sql::kClockCondition)
    return not_supported("a condition on now() that a join or CASE decides by",
                         function.query_location);
  const auto stability = function.function.GetStability();
  if (stability == duckdb::FunctionStability::CONSISTENT) return {};
  if (function.function.name == "error") return {};  // volatile only so that it is not folded away
  const bool time = stability == duckdb::FunctionStability::CONSISTENT_WITHIN_QUERY;
  return not_supported(fmt::format("{}(), whose value {},", function.function.name,
                                   time ? "moves with time" : "differs at every call"),
                       function.query_location);
}

}  // namespace

Error not_supported(const std::string& what, duckdb::optional_idx location) {
  Error error{ErrorCode::kNotSupported, what + " cannot be kept up to date in a materialized view"};
  if (location.IsValid()) error.position = location.GetIndex();
  return error;
}

Result<> resolve(duckdb::unique_ptr<duckdb::Expression>& expression, const Scope& scope) {
  switch (expression->GetExpressionClass()) {
    case ExpressionClass::BOUND_COLUMN_REF:
      return resolve_column(expression, scope);
    case ExpressionClass::BOUND_SUBQUERY:
      return not_supported("this subquery", expression->query_location);
    case ExpressionClass::BOUND_WINDOW:
      return not_supported("a window function", expression->query_location);
    case ExpressionClass::BOUND_PARAMETER:
      return not_supported("a parameter", expression->query_location);
    case ExpressionClass::BOUND_FUNCTION:
      MR_TRY(check_function(expression->Cast<duckdb::BoundFunctionExpression>()));
      break;
    default:
      break;
  }
  Result<> result;
  duckdb::ExpressionIterator::EnumerateChildren(*expression,
                                                [&](duckdb::unique_ptr<duckdb::Expression>& child) {
                                                  if (result) result = resolve(child, scope);
                                                });
  return result;
}

Result<Expressions> resolve_all(Expressions& expressions, const Scope& scope) {
  Expressions out;
  for (auto& expression : expressions) {
    MR_TRY(resolve(expression, scope));
    out.push_back(std::move(expression));
  }
  return out;
}

Expressions copies_of(const Expressions& expressions) {
  Expressions copies;
  for (const auto& expression : expressions) copies.push_back(expression->Copy());
  return copies;
}

duckdb::unique_ptr<duckdb::Expression> reference(const duckdb::LogicalType& type, size_t column) {
  return duckdb::make_uniq<duckdb::BoundReferenceExpression>(type, column);
}

Error library_error(const std::exception& thrown, const std::string& where) {
  const duckdb::ErrorData data(thrown);
  auto code = ErrorCode::kInvalidArgument;
  switch (data.Type()) {
    case duckdb::ExceptionType::OUT_OF_RANGE:
    case duckdb::ExceptionType::DECIMAL:
      code = ErrorCode::kNumericOutOfRange;
      break;
    case duckdb::ExceptionType::CONVERSION:
    case duckdb::ExceptionType::MISMATCH_TYPE:
      code = ErrorCode::kInvalidText;
      break;
    case duckdb::ExceptionType::DIVIDE_BY_ZERO:
      code = ErrorCode::kDivisionByZero;
      break;
    case duckdb::ExceptionType::NOT_IMPLEMENTED:
      code = ErrorCode::kNotSupported;
      break;
    case duckdb::ExceptionType::OUT_OF_MEMORY:
      code = ErrorCode::kOutOfMemory;
      break;
    case duckdb::ExceptionType::INTERNAL:
      code = ErrorCode::kInternal;
      break;
    default:
      break;
  }
  return Error{code, where + ": " + data.RawMessage()};
}

}  // namespace millrace::flow

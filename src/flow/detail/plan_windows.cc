#include <fmt/format.h>

#include <duckdb/planner/expression/bound_columnref_expression.hpp>
#include <duckdb/planner/expression/bound_comparison_expression.hpp>
#include <duckdb/planner/expression/bound_constant_expression.hpp>
#include <duckdb/planner/expression/bound_window_expression.hpp>
#include <duckdb/planner/expression_iterator.hpp>

#include "flow/detail/plan_time.h"
#include "flow/detail/plan_translator.h"

namespace millrace::flow {

namespace {

using duckdb::ExpressionType;

// Above, numbering the first rows anew is no less work than the window operator's.
constexpr int64_t kNumberedMax = 1024;

Result<> resolve_window(duckdb::BoundWindowExpression& window, const Scope& scope) {
  if (window.aggregate && window.aggregate->GetStability() != duckdb::FunctionStability::CONSISTENT)
    return not_supported(fmt::format("the volatile aggregate {}", window.aggregate->name),
                         window.query_location);
  Result<> result;
  duckdb::ExpressionIterator::EnumerateChildren(window,
                                                [&](duckdb::unique_ptr<duckdb::Expression>& child) {
                                                  if (result) result = resolve(child, scope);
                                                });
  return result;
}

bool refers_to(const duckdb::Expression& expression, size_t table_index) {
  if (expression.GetExpressionClass() == duckdb::ExpressionClass::BOUND_COLUMN_REF)
    return expression.Cast<duckdb::BoundColumnRefExpression>().binding.table_index == table_index;
  bool found = false;
  duckdb::ExpressionIterator::EnumerateChildren(expression, [&](const duckdb::Expression& child) {
    found = found || refers_to(child, table_index);
  });
  return found;
}

/// Which row numbers a condition lets pass: so many after so many.
struct Numbers {
  int64_t limit, offset;
};

/// `number <= 3`, `number < 4`, `number = 2`, and the same the other way round.
std::optional<Numbers> numbers_of(const duckdb::Expression& condition, size_t table_index) {
  if (condition.GetExpressionClass() != duckdb::ExpressionClass::BOUND_COMPARISON)
    return std::nullopt;
  const auto& comparison = condition.Cast<duckdb::BoundComparisonExpression>();
  const auto* column = comparison.left.get();
  const auto* constant = comparison.right.get();
  auto type = comparison.type;
  if (column->GetExpressionClass() != duckdb::ExpressionClass::BOUND_COLUMN_REF) {
    std::swap(column, constant);
    type = duckdb::FlipComparisonExpression(type);
  }
  if (column->GetExpressionClass() != duckdb::ExpressionClass::BOUND_COLUMN_REF ||
      constant->GetExpressionClass() != duckdb::ExpressionClass::BOUND_CONSTANT ||
      column->Cast<duckdb::BoundColumnRefExpression>().binding.table_index != table_index)
    return std::nullopt;
  const auto& value = constant->Cast<duckdb::BoundConstantExpression>().value;
  if (value.IsNull() || value.type() != duckdb::LogicalType::BIGINT) return std::nullopt;
  const int64_t n = value.GetValue<int64_t>();
  switch (type) {
    case ExpressionType::COMPARE_LESSTHANOREQUALTO:
      return Numbers{std::max<int64_t>(n, 0), 0};
    case ExpressionType::COMPARE_LESSTHAN:
      return Numbers{std::max<int64_t>(n, 1) - 1, 0};
    case ExpressionType::COMPARE_EQUAL:
      return n < 1 ? Numbers{0, 0} : Numbers{1, n - 1};
    default:
      return std::nullopt;
  }
}

/// The one row_number() of a window node (the plan may have it twice, for SELECT and for QUALIFY),
/// or null.
duckdb::BoundWindowExpression* lone_row_number(duckdb::LogicalOperator& op) {
  if (op.type != duckdb::LogicalOperatorType::LOGICAL_WINDOW) return nullptr;
  auto& window = op.expressions[0]->Cast<duckdb::BoundWindowExpression>();
  if (window.type != ExpressionType::WINDOW_ROW_NUMBER || !window.arg_orders.empty())
    return nullptr;
  for (const auto& other : op.expressions)
    if (!other->Equals(window)) return nullptr;
  return &window;
}

}  // namespace

/// Functions that share a PARTITION BY are one operator; the next has its columns as input.
Result<PlanTranslator::Stream> PlanTranslator::translate_window(duckdb::LogicalWindow& op) {
  MR_TRY(Stream stream, translate(*op.children[0]));
  if (session_bound(*op.expressions[0])) return translate_session(op, std::move(stream));
  for (auto& expression : op.expressions)
    MR_TRY(resolve_window(expression->Cast<duckdb::BoundWindowExpression>(), stream.scope));
  std::vector<bool> done(op.expressions.size());
  for (size_t first = 0; first < op.expressions.size(); ++first) {
    if (done[first]) continue;
    WindowSpec spec;
    spec.types = {stream.scope.types.begin(), stream.scope.types.end()};
    for (size_t i = first; i < op.expressions.size(); ++i) {
      const auto& window = op.expressions[i];
      if (done[i] ||
          (i > first &&
           !spec.windows[0]->Cast<duckdb::BoundWindowExpression>().PartitionsAreEquivalent(
               window->Cast<duckdb::BoundWindowExpression>())))
        continue;
      done[i] = true;
      stream.scope.bindings.emplace_back(op.window_index, i);
      stream.scope.types.push_back(window->return_type);
      spec.windows.push_back(window->Copy());
    }
    std::vector<Expressions> keys;
    keys.push_back(copies_of(spec.windows[0]->Cast<duckdb::BoundWindowExpression>().partitions));
    stream.node = add(make_window(context_, std::move(spec)), {stream.node}, std::move(keys));
    stream.append_only = false;
  }
  return stream;
}

/// `row_number() OVER (…) <= n` above its window node is a top-n of each partition. `above`: the
/// projection above the filter, if there is one. Nullopt: it is not that.
Result<std::optional<PlanTranslator::Stream>> PlanTranslator::translate_numbered(
    duckdb::LogicalFilter& filter, const duckdb::LogicalProjection* above) {
  auto* window = lone_row_number(*filter.children[0]);
  if (!window) return std::optional<Stream>{};
  auto& op = filter.children[0]->Cast<duckdb::LogicalWindow>();
  std::optional<Numbers> numbers;
  bool used = above == nullptr;
  Expressions rest;
  for (const auto& condition : filter.expressions) {
    const auto found = numbers ? std::nullopt : numbers_of(*condition, op.window_index);
    if (found) {
      numbers = found;
      continue;
    }
    used = used || refers_to(*condition, op.window_index);
    rest.push_back(condition->Copy());
  }
  if (!numbers) return std::optional<Stream>{};
  for (size_t i = 0; above && i < above->expressions.size(); ++i)
    used = used || refers_to(*above->expressions[i], op.window_index);
  if (used && numbers->limit > kNumberedMax) return std::optional<Stream>{};

  MR_TRY(Stream input, translate(*op.children[0]));
  TopNSpec spec;
  MR_TRY(spec.partitions, resolve_all(window->partitions, input.scope));
  MR_TRY(spec.orders, order_keys(window->orders, input.scope));
  spec.limit = numbers->limit;
  spec.offset = numbers->offset;
  spec.numbered = used && numbers->limit > 1;
  const bool counted = spec.numbered;
  Stream stream = put_top_n(std::move(spec), input);
  if (used) {
    Expressions columns;
    for (size_t i = 0; i < input.scope.types.size(); ++i)
      columns.push_back(reference(input.scope.types[i], i));
    for (size_t i = 0; i < op.expressions.size(); ++i) {
      stream.scope.bindings.emplace_back(op.window_index, i);
      stream.scope.types.push_back(duckdb::LogicalType::BIGINT);
      columns.push_back(counted ? reference(duckdb::LogicalType::BIGINT, input.scope.types.size())
                                : duckdb::make_uniq<duckdb::BoundConstantExpression>(
                                      duckdb::Value::BIGINT(numbers->offset + 1)));
    }
    stream.node = add(make_projection(context_, std::move(columns)), {stream.node});
  }
  if (!rest.empty()) {
    MR_TRY(auto conditions, resolve_all(rest, stream.scope));
    stream.node = add(make_filter(context_, std::move(conditions)), {stream.node});
  }
  return std::optional<Stream>(std::move(stream));
}

}  // namespace millrace::flow

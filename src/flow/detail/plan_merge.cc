#include <algorithm>
#include <duckdb/planner/expression/bound_aggregate_expression.hpp>
#include <duckdb/planner/expression/bound_columnref_expression.hpp>
#include <duckdb/planner/expression/bound_function_expression.hpp>
#include <duckdb/planner/expression/bound_reference_expression.hpp>
#include <duckdb/planner/expression_iterator.hpp>

#include "flow/detail/merge_rows.h"
#include "flow/detail/plan_translator.h"

namespace millrace::flow {

namespace {

void columns_read(const duckdb::Expression& e, std::vector<duckdb::ColumnBinding>& out) {
  if (e.GetExpressionClass() == duckdb::ExpressionClass::BOUND_COLUMN_REF)
    out.push_back(e.Cast<duckdb::BoundColumnRefExpression>().binding);
  duckdb::ExpressionIterator::EnumerateChildren(
      e, [&](const duckdb::Expression& child) { columns_read(child, out); });
}

bool reads(const duckdb::Expression& e, const std::vector<bool>& columns) {
  if (e.GetExpressionClass() == duckdb::ExpressionClass::BOUND_REF)
    return columns[e.Cast<duckdb::BoundReferenceExpression>().index];
  bool any = false;
  duckdb::ExpressionIterator::EnumerateChildren(
      e, [&](const duckdb::Expression& child) { any = any || reads(child, columns); });
  return any;
}

/// generate_series or range with a constant step: the windows of HOP.
bool is_series(const duckdb::Expression& list) {
  if (list.GetExpressionClass() != duckdb::ExpressionClass::BOUND_FUNCTION) return false;
  const auto& call = list.Cast<duckdb::BoundFunctionExpression>();
  const auto& name = call.function.name;
  return (name == "generate_series" || name == "range") && call.children.size() == 3 &&
         call.children[2]->IsFoldable();
}

}  // namespace

/// An aggregation that counts rows, or tells which there are, does not mind when those that make
/// the same rows are put together before.
void PlanTranslator::expect_merge(const duckdb::LogicalAggregate& aggregate) {
  for (const auto& call : aggregate.expressions)
    if (call->Cast<duckdb::BoundAggregateExpression>().function.name != "count_star") return;
  const duckdb::LogicalOperator* above = &aggregate;
  const auto* below = aggregate.children[0].get();
  for (; below->type == duckdb::LogicalOperatorType::LOGICAL_PROJECTION;
       below = below->children[0].get())
    above = below;
  if (below->type != duckdb::LogicalOperatorType::LOGICAL_UNNEST) return;
  merge_ = Merge{below, {}};
  for (const auto& e : above->expressions) columns_read(*e, merge_->read);
  if (above == &aggregate)
    for (const auto& e : aggregate.groups) columns_read(*e, merge_->read);
}

/// What goes into an unnest of series: their bounds instead of what they are made of, and equal
/// rows once. `lists` are over the result from then on. Where the bounds' own columns are read
/// above, rows are as they were.
PlanTranslator::Stream PlanTranslator::merge_before_unnest(Stream stream, Expressions& lists) {
  std::vector<bool> kept(stream.scope.types.size());
  for (size_t i = 0; i < kept.size(); ++i)
    kept[i] = std::ranges::find(merge_->read, stream.scope.bindings[i]) != merge_->read.end();
  for (const auto& list : lists)
    if (!is_series(*list) || reads(*list, kept)) return stream;
  Expressions columns;
  Scope scope;
  const auto put = [&](duckdb::unique_ptr<duckdb::Expression> e, duckdb::ColumnBinding binding) {
    scope.bindings.push_back(binding);
    scope.types.push_back(e->return_type);
    columns.push_back(std::move(e));
  };
  for (size_t i = 0; i < kept.size(); ++i)
    if (kept[i]) put(reference(stream.scope.types[i], i), stream.scope.bindings[i]);
  for (const auto& list : lists) {
    auto& bounds = list->Cast<duckdb::BoundFunctionExpression>().children;
    for (size_t i = 0; i < 2; ++i) {
      const auto type = bounds[i]->return_type;
      put(std::move(bounds[i]), {duckdb::DConstants::INVALID_INDEX, columns.size()});
      bounds[i] = reference(type, columns.size() - 1);
    }
  }
  const size_t projected = add(make_projection(context_, std::move(columns)), {stream.node});
  stream.node = add(make_merge_rows(scope.types), {projected});
  stream.scope = std::move(scope);
  return stream;
}

}  // namespace millrace::flow

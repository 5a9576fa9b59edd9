#include <fmt/format.h>

#include <duckdb/function/function_binder.hpp>
#include <duckdb/planner/expression/bound_aggregate_expression.hpp>
#include <duckdb/planner/expression/bound_constant_expression.hpp>

#include "flow/detail/plan_translator.h"

namespace millrace::flow {

namespace {

/// One aggregate of a plan, over the columns of `scope`.
Result<AggregateCall> call_of(duckdb::ClientContext& context,
                              duckdb::unique_ptr<duckdb::Expression>& expression,
                              const Scope& scope) {
  const auto location = expression->query_location;
  if (expression->GetExpressionClass() != duckdb::ExpressionClass::BOUND_AGGREGATE)
    return not_supported("this aggregate", location);
  auto& bound = expression->Cast<duckdb::BoundAggregateExpression>();
  const auto& name = bound.function.name;
  if (bound.function.GetStability() != duckdb::FunctionStability::CONSISTENT)
    return not_supported(fmt::format("the volatile aggregate {}", name), location);
  AggregateCall call;
  if (bound.order_bys) {
    for (auto& order : bound.order_bys->orders) MR_TRY(resolve(order.expression, scope));
    for (auto& child : bound.children) MR_TRY(resolve(child, scope));
    duckdb::FunctionBinder::BindSortedAggregate(context, bound, {}, nullptr);
    call.ordered = true;
  }
  const auto& function = bound.function;
  if (!function.HasStateUpdateCallback() || !function.HasStateCombineCallback() ||
      !function.HasStateFinalizeCallback())
    return not_supported(fmt::format("the aggregate {}", name), location);
  call.distinct = bound.IsDistinct();
  for (auto& child : bound.children) {
    MR_TRY(resolve(child, scope));
    call.arguments.push_back(child->Copy());
  }
  if (bound.filter) {
    MR_TRY(resolve(bound.filter, scope));
    call.filter = std::move(bound.filter);
  }
  call.bound = std::move(expression);
  return call;
}

/// The plan of an uncorrelated EXISTS: count_star() over LIMIT 1. Gives what is limited, or null.
duckdb::LogicalOperator* limited_by_exists(duckdb::LogicalAggregate& aggregate) {
  auto* below = aggregate.children[0].get();
  while (below->type == duckdb::LogicalOperatorType::LOGICAL_PROJECTION)
    below = below->children[0].get();
  if (!aggregate.groups.empty() || below->type != duckdb::LogicalOperatorType::LOGICAL_LIMIT)
    return nullptr;
  const auto& limit = below->Cast<duckdb::LogicalLimit>();
  if (limit.limit_val.Type() != duckdb::LimitNodeType::CONSTANT_VALUE ||
      limit.limit_val.GetConstantValue() != 1 ||
      limit.offset_val.Type() != duckdb::LimitNodeType::UNSET)
    return nullptr;
  for (const auto& call : aggregate.expressions)
    if (call->Cast<duckdb::BoundAggregateExpression>().function.name != "count_star")
      return nullptr;
  return below->children[0].get();
}

}  // namespace

/// The input of an aggregation. For an EXISTS, which asks for one row of any kind: one row while
/// there are rows.
Result<PlanTranslator::Stream> PlanTranslator::aggregate_input(
    duckdb::LogicalAggregate& aggregate) {
  auto* limited = limited_by_exists(aggregate);
  if (!limited) return translate(*aggregate.children[0]);
  MR_TRY(Stream input, translate(*limited));
  AggregateSpec any;
  any.append_only = input.append_only;
  any.groups.push_back(
      duckdb::make_uniq<duckdb::BoundConstantExpression>(duckdb::Value::BOOLEAN(true)));
  const size_t node = add(make_aggregate(context_, std::move(any)), {input.node});
  return Stream{node, Scope{}, input.append_only};
}

Result<AggregateSpec> PlanTranslator::aggregate_spec(duckdb::LogicalAggregate& aggregate,
                                                     const Stream& input) {
  AggregateSpec spec;
  spec.append_only = input.append_only;
  spec.global = aggregate.groups.empty();
  MR_TRY(spec.groups, resolve_all(aggregate.groups, input.scope));
  for (auto& expression : aggregate.expressions) {
    MR_TRY(auto call, call_of(context_, expression, input.scope));
    spec.calls.push_back(std::move(call));
  }
  return spec;
}

Result<PlanTranslator::Stream> PlanTranslator::translate_aggregate(
    duckdb::LogicalAggregate& aggregate) {
  if (aggregate.grouping_sets.size() > 1 || !aggregate.grouping_functions.empty())
    return not_supported("GROUPING SETS, ROLLUP or CUBE");
  MR_TRY(Stream input, aggregate_input(aggregate));
  MR_TRY(auto spec, aggregate_spec(aggregate, input));
  Scope scope;
  for (size_t i = 0; i < spec.groups.size(); ++i) {
    scope.bindings.emplace_back(aggregate.group_index, i);
    scope.types.push_back(spec.groups[i]->return_type);
  }
  for (size_t i = 0; i < spec.calls.size(); ++i) {
    scope.bindings.emplace_back(aggregate.aggregate_index, i);
    scope.types.push_back(spec.calls[i].bound->return_type);
  }
  // An aggregate's row changes as its group grows; groups alone only come.
  const bool append_only = spec.append_only && spec.calls.empty();
  const size_t node = add(make_aggregate(context_, std::move(spec)), {input.node});
  return Stream{node, std::move(scope), append_only};
}

}  // namespace millrace::flow

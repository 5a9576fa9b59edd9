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

duckdb::unique_ptr<duckdb::Expression> constant_of(duckdb::Value value) {
  return duckdb::make_uniq<duckdb::BoundConstantExpression>(std::move(value));
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
  if (!limited) {
    expect_merge(aggregate);
    return translate(*aggregate.children[0]);
  }
  MR_TRY(Stream input, translate(*limited));
  AggregateSpec any;
  any.append_only = input.append_only;
  any.groups.push_back(
      duckdb::make_uniq<duckdb::BoundConstantExpression>(duckdb::Value::BOOLEAN(true)));
  const size_t node = add_aggregate(std::move(any), input.node);
  return Stream{node, Scope{}, input.append_only};
}

Result<AggregateSpec> PlanTranslator::aggregate_spec(Expressions groups, Expressions calls,
                                                     const Stream& input) {
  AggregateSpec spec;
  spec.append_only = input.append_only;
  spec.global = groups.empty();
  MR_TRY(spec.groups, resolve_all(groups, input.scope));
  for (auto& expression : calls) {
    MR_TRY(auto call, call_of(context_, expression, input.scope));
    spec.calls.push_back(std::move(call));
  }
  return spec;
}

/// GROUPING SETS, ROLLUP and CUBE: the input is aggregated once a set, and what each gives is
/// filled up with NULL for the columns that it does not group by.
Result<PlanTranslator::Stream> PlanTranslator::translate_grouping_sets(
    duckdb::LogicalAggregate& aggregate, Stream input) {
  Stream out;
  std::vector<size_t> sets;
  for (const auto& set : aggregate.grouping_sets) {
    Expressions groups, calls, columns;
    for (const size_t i : set) groups.push_back(aggregate.groups[i]->Copy());
    for (const auto& call : aggregate.expressions) calls.push_back(call->Copy());
    MR_TRY(auto spec, aggregate_spec(std::move(groups), std::move(calls), input));
    size_t place = 0;  // in what the aggregation gives
    for (size_t i = 0; i < aggregate.groups.size(); ++i) {
      const auto& type = aggregate.groups[i]->return_type;
      columns.push_back(set.contains(i) ? reference(type, place++)
                                        : constant_of(duckdb::Value(type)));
    }
    for (const auto& call : spec.calls)
      columns.push_back(reference(call.bound->return_type, place++));
    for (const auto& function : aggregate.grouping_functions) {
      int64_t missing = 0;  // a bit an argument that the set does not group by, the last one lowest
      for (const size_t i : function) missing = missing << 1 | (set.contains(i) ? 0 : 1);
      columns.push_back(constant_of(duckdb::Value::BIGINT(missing)));
    }
    out.scope.types.clear();
    for (const auto& column : columns) out.scope.types.push_back(column->return_type);
    const size_t node = add_aggregate(std::move(spec), input.node);
    sets.push_back(add(make_projection(context_, std::move(columns)), {node}));
  }
  const auto bindings = aggregate.GetColumnBindings();
  out.scope.bindings = {bindings.begin(), bindings.end()};
  out.append_only = input.append_only && aggregate.expressions.empty();
  out.node = add(make_union(), std::move(sets));
  return out;
}

Result<PlanTranslator::Stream> PlanTranslator::translate_aggregate(
    duckdb::LogicalAggregate& aggregate) {
  MR_TRY(Stream input, aggregate_input(aggregate));
  const auto& sets = aggregate.grouping_sets;
  if (sets.size() > 1 || !aggregate.grouping_functions.empty() ||
      (sets.size() == 1 && sets[0].size() < aggregate.groups.size()))
    return translate_grouping_sets(aggregate, std::move(input));
  MR_TRY(auto spec,
         aggregate_spec(std::move(aggregate.groups), std::move(aggregate.expressions), input));
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
  const size_t node = add_aggregate(std::move(spec), input.node);
  return Stream{node, std::move(scope), append_only};
}

}  // namespace millrace::flow

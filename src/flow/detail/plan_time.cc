#include "flow/detail/plan_time.h"

#include <algorithm>
#include <duckdb/planner/expression/bound_conjunction_expression.hpp>
#include <duckdb/planner/expression/bound_constant_expression.hpp>
#include <duckdb/planner/expression/bound_function_expression.hpp>
#include <duckdb/planner/expression/bound_window_expression.hpp>
#include <duckdb/planner/expression_iterator.hpp>

#include "flow/detail/clock_filter.h"
#include "flow/detail/plan_translator.h"
#include "sql/clock_conditions.h"
#include "sql/windows.h"

namespace millrace::flow {

std::optional<SessionSpec::Bound> session_bound(const duckdb::Expression& window) {
  const auto& function = window.Cast<duckdb::BoundWindowExpression>().aggregate;
  if (!function) return std::nullopt;
  if (function->name == sql::kSessionStart) return SessionSpec::Bound::kStart;
  if (function->name == sql::kSessionEnd) return SessionSpec::Bound::kEnd;
  return std::nullopt;
}

/// SESSION: its bounds as sql/windows.h writes them, of which the optimiser may have left out one.
Result<PlanTranslator::Stream> PlanTranslator::translate_session(duckdb::LogicalWindow& op,
                                                                 Stream stream) {
  auto& first = op.expressions[0]->Cast<duckdb::BoundWindowExpression>();
  SessionSpec spec;
  spec.types = {stream.scope.types.begin(), stream.scope.types.end()};
  if (first.children[1]->GetExpressionClass() != duckdb::ExpressionClass::BOUND_CONSTANT)
    return not_supported("a SESSION whose gap is no constant", op.expressions[0]->query_location);
  spec.gap_us =
      duckdb::IntervalValue::Get(first.children[1]->Cast<duckdb::BoundConstantExpression>().value)
          .micros;
  spec.time = first.children[0]->Copy();
  MR_TRY(resolve(spec.time, stream.scope));
  MR_TRY(spec.keys, resolve_all(first.partitions, stream.scope));
  for (size_t i = 0; i < op.expressions.size(); ++i) {
    stream.scope.bindings.emplace_back(op.window_index, i);
    stream.scope.types.push_back(op.expressions[i]->return_type);
    spec.bounds.push_back(*session_bound(*op.expressions[i]));
  }
  std::vector<Expressions> keys;
  keys.push_back(copies_of(spec.keys));
  stream.node = add(make_session(context_, std::move(spec)), {stream.node}, std::move(keys));
  stream.append_only = false;
  return stream;
}

namespace {

bool is_clock_condition(const duckdb::Expression& e) {
  return e.GetExpressionClass() == duckdb::ExpressionClass::BOUND_FUNCTION &&
         e.Cast<duckdb::BoundFunctionExpression>().function.name == sql::kClockCondition;
}

bool has_clock_condition(const duckdb::Expression& e) {
  bool has = is_clock_condition(e);
  duckdb::ExpressionIterator::EnumerateChildren(
      e, [&](const duckdb::Expression& child) { has = has || has_clock_condition(child); });
  return has;
}

/// A condition as a node; what it looks at goes to `columns`.
Result<ClockNode> clock_node(duckdb::unique_ptr<duckdb::Expression> e, const Scope& scope,
                             Expressions& columns) {
  ClockNode node;
  if (is_clock_condition(*e)) {
    auto& arguments = e->Cast<duckdb::BoundFunctionExpression>().children;
    const auto number = [&](size_t i) {
      return arguments[i]->Cast<duckdb::BoundConstantExpression>().value.GetValue<int64_t>();
    };
    node.kind = ClockNode::Kind::kClock;
    node.condition = {static_cast<duckdb::ExpressionType>(number(1)), number(2), number(3),
                      number(4)};
    e = std::move(arguments[0]);
  } else if (!has_clock_condition(*e)) {
    node.kind = ClockNode::Kind::kPlain;
  } else if (e->GetExpressionClass() == duckdb::ExpressionClass::BOUND_CONJUNCTION) {
    const bool both = e->GetExpressionType() == duckdb::ExpressionType::CONJUNCTION_AND;
    node.kind = both ? ClockNode::Kind::kAnd : ClockNode::Kind::kOr;
    for (auto& child : e->Cast<duckdb::BoundConjunctionExpression>().children) {
      MR_TRY(auto made, clock_node(std::move(child), scope, columns));
      node.children.push_back(std::move(made));
    }
    return node;
  } else {
    return not_supported("the clock inside of such a condition", e->query_location);
  }
  MR_TRY(resolve(e, scope));
  node.column = columns.size();
  columns.push_back(std::move(e));
  return node;
}

bool takes_out(const ClockNode& node) {
  return node.kind == ClockNode::Kind::kClock ? node.condition.takes_out()
                                              : std::ranges::any_of(node.children, takes_out);
}

}  // namespace

Expressions take_clock_conditions(Expressions& conditions) {
  Expressions moving, others;
  for (auto& condition : conditions)
    (has_clock_condition(*condition) ? moving : others).push_back(std::move(condition));
  conditions = std::move(others);
  return moving;
}

/// Conditions as sql/clock_conditions.h writes them.
Result<PlanTranslator::Stream> PlanTranslator::filter_by_clock(Expressions conditions,
                                                               Stream stream) {
  ClockFilterSpec spec;
  spec.types = {stream.scope.types.begin(), stream.scope.types.end()};
  for (auto& condition : conditions) {
    MR_TRY(auto node, clock_node(std::move(condition), stream.scope, spec.columns));
    spec.root.children.push_back(std::move(node));
  }
  stream.append_only = stream.append_only && !takes_out(spec.root);
  stream.node = add(make_clock_filter(context_, std::move(spec)), {stream.node});
  return stream;
}

}  // namespace millrace::flow

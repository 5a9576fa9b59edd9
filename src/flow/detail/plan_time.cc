#include "flow/detail/plan_time.h"

#include <duckdb/planner/expression/bound_constant_expression.hpp>
#include <duckdb/planner/expression/bound_function_expression.hpp>
#include <duckdb/planner/expression/bound_window_expression.hpp>

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

Expressions take_clock_conditions(Expressions& conditions) {
  Expressions moving, others;
  for (auto& condition : conditions) {
    const bool moves =
        condition->GetExpressionClass() == duckdb::ExpressionClass::BOUND_FUNCTION &&
        condition->Cast<duckdb::BoundFunctionExpression>().function.name == sql::kClockCondition;
    (moves ? moving : others).push_back(std::move(condition));
  }
  conditions = std::move(others);
  return moving;
}

/// Conditions as sql/clock_conditions.h writes them.
Result<PlanTranslator::Stream> PlanTranslator::filter_by_clock(Expressions conditions,
                                                               Stream stream) {
  ClockFilterSpec spec;
  spec.types = {stream.scope.types.begin(), stream.scope.types.end()};
  bool leave = false;
  for (auto& condition : conditions) {
    auto& arguments = condition->Cast<duckdb::BoundFunctionExpression>().children;
    const auto number = [&](size_t i) {
      return arguments[i]->Cast<duckdb::BoundConstantExpression>().value.GetValue<int64_t>();
    };
    MR_TRY(resolve(arguments[0], stream.scope));
    spec.times.push_back(std::move(arguments[0]));
    auto& bound = spec.conditions.emplace_back();
    bound.comparison = static_cast<duckdb::ExpressionType>(number(1));
    bound.unit_us = number(2);
    bound.offset_us = number(3);
    leave = leave || bound.takes_out();
  }
  stream.append_only = stream.append_only && !leave;
  stream.node = add(make_clock_filter(context_, std::move(spec)), {stream.node});
  return stream;
}

}  // namespace millrace::flow

#include "flow/detail/plan_time.h"

#include <duckdb/planner/expression/bound_constant_expression.hpp>
#include <duckdb/planner/expression/bound_window_expression.hpp>

#include "flow/detail/plan_translator.h"
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
  stream.node = add(make_session(context_, std::move(spec)), {stream.node});
  stream.append_only = false;
  return stream;
}

}  // namespace millrace::flow

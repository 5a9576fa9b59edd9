#include "flow/detail/plan_temporal.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <duckdb/planner/expression/bound_function_expression.hpp>
#include <duckdb/planner/expression_iterator.hpp>
#include <set>

#include "flow/detail/plan_translator.h"
#include "flow/detail/temporal_join.h"
#include "sql/format.h"
#include "sql/windows.h"

namespace millrace::flow {

namespace {

using duckdb::LogicalOperatorType;

/// The argument of the function that marks the time of the table's rows; null: it is not there.
duckdb::unique_ptr<duckdb::Expression>* changed_at(duckdb::unique_ptr<duckdb::Expression>& e) {
  if (e->GetExpressionClass() == duckdb::ExpressionClass::BOUND_FUNCTION) {
    auto& function = e->Cast<duckdb::BoundFunctionExpression>();
    if (function.function.name == sql::kSystemTime) return &function.children.at(0);
  }
  duckdb::unique_ptr<duckdb::Expression>* found = nullptr;
  duckdb::ExpressionIterator::EnumerateChildren(*e,
                                                [&](duckdb::unique_ptr<duckdb::Expression>& child) {
                                                  if (auto* inside = changed_at(child))
                                                    found = inside;
                                                });
  return found;
}

Error refused(std::string why, std::string hint) {
  return {ErrorCode::kNotSupported, "FOR SYSTEM_TIME AS OF " + std::move(why), std::nullopt,
          std::move(hint)};
}

}  // namespace

bool is_temporal(const duckdb::LogicalComparisonJoin& join) {
  auto& conditions = const_cast<duckdb::LogicalComparisonJoin&>(join).conditions;
  return std::ranges::any_of(
      conditions, [](auto& condition) { return changed_at(condition.right) != nullptr; });
}

/// The right side of a temporal join: a table, and what filters its keys.
Result<PlanTranslator::Stream> PlanTranslator::translate_versions(duckdb::LogicalOperator& op) {
  auto* below = &op;
  while (below->type == LogicalOperatorType::LOGICAL_FILTER) below = below->children[0].get();
  const auto* object = below->type == LogicalOperatorType::LOGICAL_GET ? finder_(*below) : nullptr;
  if (!object || object->kind != catalog::Kind::kTable)
    return refused(object ? fmt::format("joins a table, and {} is none", object->name)
                          : "joins a table as it stands",
                   "Use ASOF JOIN for other relations that have a time.");
  versions_ = true;
  auto stream = translate(op);
  versions_ = false;
  return stream;
}

/// Each row of the left side with the row that its key had in the table at its time.
Result<PlanTranslator::Stream> PlanTranslator::translate_temporal_join(
    duckdb::LogicalComparisonJoin& join) {
  MR_TRY(Stream left, translate(*join.children[0]));
  if (!left.append_only)
    return refused("joins each row once, and these are taken back",
                   "Join before what takes rows back (an aggregate, an outer join), or use a plain "
                   "JOIN, which follows the table.");
  MR_TRY(Stream right, translate_versions(*join.children[1]));
  TemporalSpec spec;
  spec.kind = join.join_type == duckdb::JoinType::LEFT ? JoinKind::kLeft : JoinKind::kInner;
  spec.left_types = {left.scope.types.begin(), left.scope.types.end()};
  spec.right_types = {right.scope.types.begin(), right.scope.types.end()};
  const auto& table = inputs_.back().object;
  MR_TRY(const auto columns, sql::columns_of(table));
  std::set<std::string> compared;
  for (auto& condition : join.conditions) {
    MR_TRY(resolve(condition.left, left.scope));
    MR_TRY(resolve(condition.right, right.scope));
    if (const auto* changed = changed_at(condition.right)) {
      spec.right_time = (*changed)->Cast<duckdb::BoundReferenceExpression>().index;
      spec.left_time.push_back(std::move(condition.left));
      continue;
    }
    const auto& key = *condition.right;
    if (key.GetExpressionClass() == duckdb::ExpressionClass::BOUND_REF) {
      const size_t at = key.Cast<duckdb::BoundReferenceExpression>().index;
      compared.insert(columns.at(inputs_.back().columns.at(at)).name);
    } else {
      compared.insert(key.ToString());
    }
    spec.null_equals_null.push_back(condition.comparison ==
                                    duckdb::ExpressionType::COMPARE_NOT_DISTINCT_FROM);
    spec.left_keys.push_back(std::move(condition.left));
    spec.right_keys.push_back(std::move(condition.right));
  }
  std::set<std::string> wanted(table.primary_key.begin(), table.primary_key.end());
  if (wanted.empty()) wanted.insert("_key");
  if (join.predicate || compared != wanted)
    return refused(fmt::format("needs a condition that compares the key of {}, ({}), and nothing "
                               "else",
                               table.name, fmt::join(wanted, ", ")),
                   "Put other conditions into WHERE.");
  Stream out = left;
  out.scope.bindings.insert(out.scope.bindings.end(), right.scope.bindings.begin(),
                            right.scope.bindings.end());
  out.scope.types.insert(out.scope.types.end(), right.scope.types.begin(), right.scope.types.end());
  out.node = add(make_temporal_join(context_, std::move(spec)), {left.node, right.node});
  return out;
}

}  // namespace millrace::flow

#include "flow/detail/plan_temporal.h"
#include "flow/detail/plan_time.h"
#include "flow/detail/plan_translator.h"
#include "flow/detail/time_bound.h"

#include <duckdb/function/function_binder.hpp>
#include <duckdb/planner/expression/bound_cast_expression.hpp>
#include <duckdb/planner/expression/bound_comparison_expression.hpp>
#include <duckdb/planner/expression/bound_conjunction_expression.hpp>
#include <duckdb/planner/expression/bound_constant_expression.hpp>
#include <duckdb/planner/expression/bound_operator_expression.hpp>
#include <duckdb/planner/expression/bound_reference_expression.hpp>
#include <duckdb/planner/expression/bound_window_expression.hpp>
#include <duckdb/planner/expression_iterator.hpp>

namespace millrace::flow {

namespace {

bool is_equality(duckdb::ExpressionType comparison) {
  return comparison == duckdb::ExpressionType::COMPARE_EQUAL ||
         comparison == duckdb::ExpressionType::COMPARE_NOT_DISTINCT_FROM;
}

Scope side_by_side(const Scope& left, const Scope& right) {
  Scope both = left;
  both.bindings.insert(both.bindings.end(), right.bindings.begin(), right.bindings.end());
  both.types.insert(both.types.end(), right.types.begin(), right.types.end());
  return both;
}

Result<JoinKind> kind_of(duckdb::JoinType type) {
  switch (type) {
    case duckdb::JoinType::INNER:
      return JoinKind::kInner;
    case duckdb::JoinType::LEFT:
      return JoinKind::kLeft;
    case duckdb::JoinType::RIGHT:
      return JoinKind::kRight;
    case duckdb::JoinType::OUTER:
      return JoinKind::kFull;
    case duckdb::JoinType::SEMI:
      return JoinKind::kSemi;
    case duckdb::JoinType::ANTI:
      return JoinKind::kAnti;
    case duckdb::JoinType::MARK:
      return JoinKind::kMark;
    case duckdb::JoinType::SINGLE:
      return JoinKind::kSingle;
    default:
      return not_supported("this kind of join (" + duckdb::EnumUtil::ToString(type) + ")");
  }
}

/// The conditions of `spec`, once more.
JoinSpec met(const JoinSpec& spec) {
  JoinSpec out;
  for (const auto& key : spec.left_keys) out.left_keys.push_back(key->Copy());
  for (const auto& key : spec.right_keys) out.right_keys.push_back(key->Copy());
  out.null_equals_null = spec.null_equals_null;
  for (const auto& condition : spec.residual) out.residual.push_back(condition->Copy());
  return out;
}

/// References of a right input's expression, over left and right side by side.
void shift(duckdb::unique_ptr<duckdb::Expression>& expression, size_t by) {
  if (expression->GetExpressionClass() == duckdb::ExpressionClass::BOUND_REF)
    expression->Cast<duckdb::BoundReferenceExpression>().index += by;
  duckdb::ExpressionIterator::EnumerateChildren(
      *expression, [&](duckdb::unique_ptr<duckdb::Expression>& child) { shift(child, by); });
}

/// Which comparisons with NULL leave open whether a row is IN: those that make the conditions
/// together NULL; or each one, as DuckDB has it for `(a, b) IN (SELECT c, d …)`.
enum class Open { kTogether, kAny };

duckdb::unique_ptr<duckdb::Expression> is_null(duckdb::unique_ptr<duckdb::Expression> value) {
  auto out = duckdb::make_uniq<duckdb::BoundOperatorExpression>(
      duckdb::ExpressionType::OPERATOR_IS_NULL, duckdb::LogicalType::BOOLEAN);
  out->children.push_back(std::move(value));
  return out;
}

duckdb::unique_ptr<duckdb::Expression> conjunction(duckdb::ExpressionType type,
                                                   Expressions children) {
  if (children.size() == 1) return std::move(children[0]);
  auto out = duckdb::make_uniq<duckdb::BoundConjunctionExpression>(type);
  for (auto& child : children) out->children.push_back(std::move(child));
  return out;
}

/// "The conditions of `spec` are NULL."
JoinSpec unknown(const JoinSpec& spec, Open open) {
  JoinSpec out;
  Expressions all;
  for (const auto& condition : spec.residual) all.push_back(condition->Copy());
  for (size_t i = 0; i < spec.left_keys.size(); ++i) {
    auto left = spec.left_keys[i]->Copy(), right = spec.right_keys[i]->Copy();
    if (spec.null_equals_null[i]) {
      out.left_keys.push_back(std::move(left));
      out.right_keys.push_back(std::move(right));
      out.null_equals_null.push_back(true);
      continue;
    }
    shift(right, spec.left_types.size());
    all.push_back(duckdb::make_uniq<duckdb::BoundComparisonExpression>(
        duckdb::ExpressionType::COMPARE_EQUAL, std::move(left), std::move(right)));
  }
  if (open == Open::kTogether) {
    out.residual.push_back(
        is_null(conjunction(duckdb::ExpressionType::CONJUNCTION_AND, std::move(all))));
    return out;
  }
  for (auto& one : all) one = is_null(std::move(one));
  out.residual.push_back(conjunction(duckdb::ExpressionType::CONJUNCTION_OR, std::move(all)));
  return out;
}

}  // namespace

Result<JoinSpec> PlanTranslator::join_spec(duckdb::JoinType type, const Stream& left,
                                           const Stream& right) {
  JoinSpec spec;
  MR_TRY(spec.kind, kind_of(type));
  spec.left_types = {left.scope.types.begin(), left.scope.types.end()};
  spec.right_types = {right.scope.types.begin(), right.scope.types.end()};
  spec.left_append_only = left.append_only;
  spec.right_append_only = right.append_only;
  return spec;
}

Result<> PlanTranslator::join_conditions(duckdb::LogicalComparisonJoin& join, const Stream& left,
                                         const Stream& right, JoinSpec& spec) {
  const Scope both = side_by_side(left.scope, right.scope);
  for (auto& condition : join.conditions) {
    if (is_equality(condition.comparison)) {
      MR_TRY(resolve(condition.left, left.scope));
      MR_TRY(resolve(condition.right, right.scope));
      spec.left_keys.push_back(std::move(condition.left));
      spec.right_keys.push_back(std::move(condition.right));
      spec.null_equals_null.push_back(condition.comparison ==
                                      duckdb::ExpressionType::COMPARE_NOT_DISTINCT_FROM);
      continue;
    }
    duckdb::unique_ptr<duckdb::Expression> comparison =
        duckdb::make_uniq<duckdb::BoundComparisonExpression>(
            condition.comparison, std::move(condition.left), std::move(condition.right));
    MR_TRY(resolve(comparison, both));
    spec.residual.push_back(std::move(comparison));
  }
  if (join.predicate) {
    MR_TRY(resolve(join.predicate, both));
    spec.residual.push_back(std::move(join.predicate));
  }
  return {};
}

PlanTranslator::Stream PlanTranslator::put_join(JoinSpec spec, const Stream& left,
                                                const Stream& right, size_t mark_index) {
  Stream out;
  out.scope = left.scope;
  out.append_only = spec.left_append_only && spec.right_append_only &&
                    (spec.kind == JoinKind::kInner || spec.kind == JoinKind::kSemi);
  if (spec.kind == JoinKind::kMark) {
    out.scope.bindings.emplace_back(mark_index, 0);
    out.scope.types.push_back(duckdb::LogicalType::BOOLEAN);
  } else if (spec.kind != JoinKind::kSemi && spec.kind != JoinKind::kAnti) {
    out.scope = side_by_side(left.scope, right.scope);
  }
  std::vector<Expressions> keys;
  if (spec.kind != JoinKind::kMark) {  // which asks whether there are rows at all
    keys.push_back(copies_of(spec.left_keys));
    keys.push_back(copies_of(spec.right_keys));
  }
  out.node = add(make_join(context_, std::move(spec)), {left.node, right.node}, std::move(keys));
  return out;
}

/// IN with a correlated subquery, a comparison with ANY or ALL: a mark that several conditions
/// decide. True for a left row that meets them all with some right row; otherwise unknown for one
/// that may, where a NULL is compared; otherwise false. Each of the three is a semi or anti join.
PlanTranslator::Stream PlanTranslator::put_mark_join(const JoinSpec& spec, const Stream& left,
                                                     const Stream& right, size_t mark_index) {
  // DuckDB's hash join knows of NULLs in keys; where more than equality decides, and under
  // correlation, it compares.
  const bool of_keys =
      spec.residual.empty() && std::ranges::count(spec.null_equals_null, true) == 0;
  const auto open = of_keys ? Open::kAny : Open::kTogether;
  const auto put = [&](JoinSpec like, JoinKind kind, const Stream& from) {
    like.kind = kind;
    like.left_types = spec.left_types;
    like.right_types = spec.right_types;
    like.left_append_only = from.append_only;
    like.right_append_only = right.append_only;
    return put_join(std::move(like), from, right, 0);
  };
  std::vector<size_t> marked;
  const auto mark = [&](const Stream& rows, duckdb::Value value) {
    Expressions columns;
    for (size_t i = 0; i < left.scope.types.size(); ++i)
      columns.push_back(reference(left.scope.types[i], i));
    columns.push_back(duckdb::make_uniq<duckdb::BoundConstantExpression>(std::move(value)));
    marked.push_back(add(make_projection(context_, std::move(columns)), {rows.node}));
  };
  mark(put(met(spec), JoinKind::kSemi, left), duckdb::Value::BOOLEAN(true));
  const Stream rest = put(met(spec), JoinKind::kAnti, left);
  mark(put(unknown(spec, open), JoinKind::kSemi, rest),
       duckdb::Value(duckdb::LogicalType::BOOLEAN));
  mark(put(unknown(spec, open), JoinKind::kAnti, rest), duckdb::Value::BOOLEAN(false));
  Stream out = left;
  out.append_only = false;
  out.scope.bindings.emplace_back(mark_index, 0);
  out.scope.types.push_back(duckdb::LogicalType::BOOLEAN);
  out.node = add(make_union(), std::move(marked));
  return out;
}

Result<PlanTranslator::Stream> PlanTranslator::translate_comparison_join(
    duckdb::LogicalComparisonJoin& join) {
  MR_TRY(Stream left, translate(*join.children[0]));
  MR_TRY(Stream right, translate(*join.children[1]));
  MR_TRY(auto spec, join_spec(join.join_type, left, right));
  MR_TRY(join_conditions(join, left, right, spec));
  if (spec.kind == JoinKind::kMark && (spec.left_keys.size() != 1 || !spec.residual.empty()))
    return put_mark_join(spec, left, right, join.mark_index);
  return put_join(std::move(spec), left, right, join.mark_index);
}

namespace {

bool has_time_difference(const duckdb::Expression& e) {
  bool has = is_time_difference(e);
  duckdb::ExpressionIterator::EnumerateChildren(
      e, [&](const duckdb::Expression& child) { has = has || has_time_difference(child); });
  return has;
}

}  // namespace

/// DuckDB leaves `a.ts - b.ts < INTERVAL …` above an inner join. Such conditions become the join's,
/// which forgets rows by them.
void PlanTranslator::bound_join_below(duckdb::LogicalFilter& filter) {
  auto& below = *filter.children[0];
  if (below.type != duckdb::LogicalOperatorType::LOGICAL_COMPARISON_JOIN) return;
  auto& join = below.Cast<duckdb::LogicalComparisonJoin>();
  if (join.join_type != duckdb::JoinType::INNER) return;
  Expressions others;
  for (auto& condition : filter.expressions) {
    if (!has_time_difference(*condition)) {
      others.push_back(std::move(condition));
    } else if (!join.predicate) {
      join.predicate = std::move(condition);
    } else {
      join.predicate = duckdb::make_uniq<duckdb::BoundConjunctionExpression>(
          duckdb::ExpressionType::CONJUNCTION_AND, std::move(join.predicate), std::move(condition));
    }
  }
  filter.expressions = std::move(others);
}

/// An ASOF join: equalities, and one inequality that says which of the right rows is taken.
Result<PlanTranslator::Stream> PlanTranslator::translate_asof_join(
    duckdb::LogicalComparisonJoin& join) {
  if (is_temporal(join)) return translate_temporal_join(join);
  MR_TRY(Stream left, translate(*join.children[0]));
  MR_TRY(Stream right, translate(*join.children[1]));
  AsofSpec spec;
  MR_TRY(spec.kind, kind_of(join.join_type));
  if (spec.kind == JoinKind::kMark || spec.kind == JoinKind::kSingle)
    return not_supported("an ASOF join of this kind");
  if (join.predicate) return not_supported("an ASOF join with this condition");
  spec.left_types = {left.scope.types.begin(), left.scope.types.end()};
  spec.right_types = {right.scope.types.begin(), right.scope.types.end()};
  duckdb::unique_ptr<duckdb::Expression> left_order, right_order;
  for (auto& condition : join.conditions) {
    MR_TRY(resolve(condition.left, left.scope));
    MR_TRY(resolve(condition.right, right.scope));
    if (is_equality(condition.comparison)) {
      spec.left_keys.push_back(std::move(condition.left));
      spec.right_keys.push_back(std::move(condition.right));
      spec.null_equals_null.push_back(condition.comparison ==
                                      duckdb::ExpressionType::COMPARE_NOT_DISTINCT_FROM);
      continue;
    }
    if (left_order) return not_supported("an ASOF join with two inequalities");
    left_order = std::move(condition.left);
    right_order = std::move(condition.right);
    spec.comparison = condition.comparison;
  }
  if (!left_order) return not_supported("an ASOF join without an inequality");
  std::vector<Expressions> keys;
  keys.push_back(copies_of(spec.left_keys));
  keys.push_back(copies_of(spec.right_keys));
  spec.left_keys.push_back(std::move(left_order));
  spec.right_keys.push_back(std::move(right_order));
  Stream out = left;
  out.append_only = false;  // a nearer row may come
  if (spec.kind != JoinKind::kSemi && spec.kind != JoinKind::kAnti)
    out.scope = side_by_side(left.scope, right.scope);
  out.node =
      add(make_asof_join(context_, std::move(spec)), {left.node, right.node}, std::move(keys));
  return out;
}

namespace {

/// Projections, filters and unnests down to the outer side's columns.
bool is_row_by_row(const duckdb::LogicalOperator& op) {
  switch (op.type) {
    case duckdb::LogicalOperatorType::LOGICAL_DELIM_GET:
      return true;
    case duckdb::LogicalOperatorType::LOGICAL_PROJECTION:
    case duckdb::LogicalOperatorType::LOGICAL_FILTER:
    case duckdb::LogicalOperatorType::LOGICAL_UNNEST:
      return is_row_by_row(*op.children[0]);
    case duckdb::LogicalOperatorType::LOGICAL_GET:  // a table function over columns
      return op.children.size() == 1 && is_row_by_row(*op.children[0]);
    default:
      return false;
  }
}

/// The window node by which DuckDB numbers the outer rows of a LATERAL join.
bool numbers_rows(const duckdb::LogicalOperator& op) {
  if (op.type != duckdb::LogicalOperatorType::LOGICAL_WINDOW || op.expressions.size() != 1)
    return false;
  const auto& window = op.expressions[0]->Cast<duckdb::BoundWindowExpression>();
  return window.type == duckdb::ExpressionType::WINDOW_ROW_NUMBER && window.partitions.empty() &&
         window.orders.empty();
}

/// 63 bits of a row's hash, as a BIGINT.
duckdb::unique_ptr<duckdb::Expression> row_hash(duckdb::ClientContext& context,
                                                const Expressions& columns) {
  duckdb::FunctionBinder binder(context);
  duckdb::ErrorData error;
  const auto call = [&](const char* name, Expressions arguments) {
    auto bound = binder.BindScalarFunction(DEFAULT_SCHEMA, name, std::move(arguments), error);
    if (error.HasError()) error.Throw();
    return bound;
  };
  Expressions all;
  for (const auto& column : columns) all.push_back(column->Copy());
  Expressions halved;
  halved.push_back(call("hash", std::move(all)));
  halved.push_back(duckdb::make_uniq<duckdb::BoundConstantExpression>(duckdb::Value::UBIGINT(2)));
  return duckdb::BoundCastExpression::AddCastToType(context, call("//", std::move(halved)),
                                                    duckdb::LogicalType::BIGINT);
}

}  // namespace

/// The outer side of a correlated subquery. DuckDB numbers the rows of a LATERAL join's, and groups
/// and joins by the number alone. Here equal rows have one number, their hash, as weights count
/// them already. Among a hundred million rows two have the same with a chance of one in two
/// thousand. `by_itself`: each row goes its own way, and no number is needed.
Result<PlanTranslator::Stream> PlanTranslator::translate_outer(duckdb::LogicalOperator& outer,
                                                               bool by_itself) {
  if (!numbers_rows(outer)) return translate(outer);
  MR_TRY(Stream stream, translate(*outer.children[0]));
  Expressions columns;
  for (size_t i = 0; i < stream.scope.types.size(); ++i)
    columns.push_back(reference(stream.scope.types[i], i));
  if (by_itself) {
    columns.push_back(duckdb::make_uniq<duckdb::BoundConstantExpression>(duckdb::Value::BIGINT(0)));
  } else {
    columns.push_back(row_hash(context_, columns));
  }
  stream.scope.bindings.push_back(outer.GetColumnBindings().back());
  stream.scope.types.push_back(duckdb::LogicalType::BIGINT);
  stream.node = add(make_projection(context_, std::move(columns)), {stream.node});
  return stream;
}

/// LATERAL over something computed from each row alone (an unnest of its list, mostly): no join,
/// the row goes through the operators of the other side with all its columns. Equal to the join by
/// its conditions, which are kept as a filter.
Result<PlanTranslator::Stream> PlanTranslator::translate_row_by_row(
    duckdb::LogicalComparisonJoin& join) {
  MR_TRY(Stream stream, translate_outer(*join.children[0], true));
  row_by_row_ = {&stream, &join.duplicate_eliminated_columns};
  auto joined = translate(*join.children[1]);
  row_by_row_.reset();
  if (!joined) return std::move(joined).error();
  Expressions conditions;
  for (auto& condition : join.conditions)
    conditions.push_back(duckdb::make_uniq<duckdb::BoundComparisonExpression>(
        condition.comparison, std::move(condition.left), std::move(condition.right)));
  if (join.predicate) conditions.push_back(std::move(join.predicate));
  MR_TRY(conditions, resolve_all(conditions, joined->scope));
  joined->node = add(make_filter(context_, std::move(conditions)), {joined->node});
  return std::move(*joined);
}

/// A projection of such a chain, or its leaf: its stream holds the outer row's columns too.
Result<PlanTranslator::Stream> PlanTranslator::translate_carried(duckdb::LogicalOperator& op) {
  const bool leaf = op.type == duckdb::LogicalOperatorType::LOGICAL_DELIM_GET;
  auto& [outer, delim_columns] = *row_by_row_;
  Stream stream = *outer;
  if (!leaf) {
    MR_TRY(stream, translate(*op.children[0]));
  }
  // First what is new, then all that there was.
  Expressions columns;
  Scope scope;
  auto& news = leaf ? *delim_columns : op.expressions;
  const auto bindings = op.GetColumnBindings();
  for (size_t i = 0; i < news.size(); ++i) {
    auto column = news[i]->Copy();
    MR_TRY(resolve(column, stream.scope));
    scope.bindings.push_back(bindings[i]);
    scope.types.push_back(column->return_type);
    columns.push_back(std::move(column));
  }
  for (size_t i = 0; i < stream.scope.types.size(); ++i) {
    scope.bindings.push_back(stream.scope.bindings[i]);
    scope.types.push_back(stream.scope.types[i]);
    columns.push_back(reference(stream.scope.types[i], i));
  }
  const size_t node = add(make_projection(context_, std::move(columns)), {stream.node});
  return Stream{node, std::move(scope), stream.append_only};
}

/// A correlated subquery: the right side reads the distinct values of the left side's columns that
/// it refers to.
Result<PlanTranslator::Stream> PlanTranslator::translate_delim_join(
    duckdb::LogicalComparisonJoin& join) {
  if (join.join_type == duckdb::JoinType::INNER && !join.delim_flipped &&
      is_row_by_row(*join.children[1]))
    return translate_row_by_row(join);
  const size_t outer = join.delim_flipped ? 1 : 0;
  MR_TRY(Stream source, translate_outer(*join.children[outer], false));
  AggregateSpec keys;
  keys.append_only = source.append_only;
  Stream key_stream;
  key_stream.append_only = source.append_only;
  for (auto& column : join.duplicate_eliminated_columns) {
    MR_TRY(resolve(column, source.scope));
    key_stream.scope.types.push_back(column->return_type);
    keys.groups.push_back(std::move(column));
  }
  key_stream.node = add_aggregate(std::move(keys), source.node);
  delim_keys_.push_back(std::move(key_stream));
  auto other = translate(*join.children[1 - outer]);
  delim_keys_.pop_back();
  if (!other) return std::move(other).error();
  const Stream& left = join.delim_flipped ? *other : source;
  const Stream& right = join.delim_flipped ? source : *other;
  MR_TRY(auto spec, join_spec(join.join_type, left, right));
  MR_TRY(join_conditions(join, left, right, spec));
  if (spec.kind == JoinKind::kMark) return put_mark_join(spec, left, right, join.mark_index);
  return put_join(std::move(spec), left, right, join.mark_index);
}

Result<PlanTranslator::Stream> PlanTranslator::translate_any_join(duckdb::LogicalAnyJoin& join) {
  MR_TRY(Stream left, translate(*join.children[0]));
  MR_TRY(Stream right, translate(*join.children[1]));
  MR_TRY(auto spec, join_spec(join.join_type, left, right));
  Expressions conditions;
  conditions.push_back(std::move(join.condition));
  // Conditions on the clock do not hold for good: an inner join is filtered by them.
  auto moving = take_clock_conditions(conditions);
  if (!moving.empty() && spec.kind != JoinKind::kInner)
    return not_supported("the clock in the condition of such a join", moving[0]->query_location);
  MR_TRY(spec.residual, resolve_all(conditions, side_by_side(left.scope, right.scope)));
  if (!moving.empty())
    return filter_by_clock(std::move(moving), put_join(std::move(spec), left, right, 0));
  if (spec.kind == JoinKind::kMark) return put_mark_join(spec, left, right, join.mark_index);
  return put_join(std::move(spec), left, right, join.mark_index);
}

Result<PlanTranslator::Stream> PlanTranslator::translate_cross_product(
    duckdb::LogicalCrossProduct& product) {
  MR_TRY(Stream left, translate(*product.children[0]));
  MR_TRY(Stream right, translate(*product.children[1]));
  MR_TRY(auto spec, join_spec(duckdb::JoinType::INNER, left, right));
  return put_join(std::move(spec), left, right, 0);
}

}  // namespace millrace::flow

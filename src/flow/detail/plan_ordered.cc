#include "flow/detail/plan_translator.h"

namespace millrace::flow {

namespace {

using duckdb::LimitNodeType;
using duckdb::LogicalOperatorType;

/// Takes LIMIT and OFFSET over; both are constants, or it is refused.
Result<> read_limit(duckdb::LogicalLimit& limit, TopNSpec& spec) {
  const auto constant = [](const duckdb::BoundLimitNode& node) {
    return static_cast<int64_t>(
        std::min<uint64_t>(node.GetConstantValue(), static_cast<uint64_t>(TopNSpec::kNoLimit)));
  };
  switch (limit.limit_val.Type()) {
    case LimitNodeType::UNSET:
      break;
    case LimitNodeType::CONSTANT_VALUE:
      spec.limit = constant(limit.limit_val);
      break;
    case LimitNodeType::CONSTANT_PERCENTAGE:
      spec.percent = limit.limit_val.GetConstantPercentage();
      break;
    default:
      return not_supported("a LIMIT that a subquery computes");
  }
  if (limit.offset_val.Type() == LimitNodeType::UNSET) return {};
  if (limit.offset_val.Type() != LimitNodeType::CONSTANT_VALUE)
    return not_supported("an OFFSET that a subquery computes");
  spec.offset = constant(limit.offset_val);
  return {};
}

/// The ORDER BY whose order a LIMIT above it sees, or null.
duckdb::LogicalOrder* order_below(duckdb::LogicalOperator& op) {
  auto* at = &op;
  while (at->type == LogicalOperatorType::LOGICAL_PROJECTION) at = at->children[0].get();
  if (at->type != LogicalOperatorType::LOGICAL_ORDER_BY) return nullptr;
  return &at->Cast<duckdb::LogicalOrder>();
}

}  // namespace

Result<std::vector<OrderKey>> PlanTranslator::order_keys(
    duckdb::vector<duckdb::BoundOrderByNode>& orders, const Scope& scope) {
  std::vector<OrderKey> keys;
  for (auto& order : orders) {
    auto expression = order.expression->Copy();
    MR_TRY(resolve(expression, scope));
    keys.push_back({std::move(expression), order.type, order.null_order});
  }
  return keys;
}

PlanTranslator::Stream PlanTranslator::put_top_n(TopNSpec spec, const Stream& input) {
  spec.types = {input.scope.types.begin(), input.scope.types.end()};
  spec.append_only = input.append_only;
  Stream out = input;
  out.append_only = false;  // a better row drives one out
  std::vector<Expressions> keys;
  keys.push_back(copies_of(spec.partitions));
  out.node = add(make_top_n(context_, std::move(spec)), {input.node}, std::move(keys));
  return out;
}

Result<PlanTranslator::Stream> PlanTranslator::translate_top_n(duckdb::LogicalTopN& top) {
  MR_TRY(Stream input, translate(*top.children[0]));
  TopNSpec spec;
  MR_TRY(spec.orders, order_keys(top.orders, input.scope));
  const auto most = static_cast<uint64_t>(TopNSpec::kNoLimit);
  spec.limit = static_cast<int64_t>(std::min<uint64_t>(top.limit, most));
  spec.offset = static_cast<int64_t>(std::min<uint64_t>(top.offset, most));
  return put_top_n(std::move(spec), input);
}

/// LIMIT over what has an order is a top-n of it; otherwise any rows will do, and the bytes of the
/// rows say which, so that it is always the same ones.
Result<PlanTranslator::Stream> PlanTranslator::translate_limit(duckdb::LogicalLimit& limit) {
  TopNSpec spec;
  MR_TRY(read_limit(limit, spec));
  auto* order = order_below(*limit.children[0]);
  if (!order) {
    MR_TRY(Stream input, translate(*limit.children[0]));
    return put_top_n(std::move(spec), input);
  }
  // Row by row, projections may as well be done after it.
  MR_TRY(Stream input, translate(*order->children[0]));
  MR_TRY(spec.orders, order_keys(order->orders, input.scope));
  Stream limited = put_top_n(std::move(spec), input);
  if (order == limit.children[0].get()) return limited;
  limits_done_.emplace(order, std::move(limited));
  return translate(*limit.children[0]);
}

/// DISTINCT ON: the first row of each, in the ORDER BY of the query.
Result<PlanTranslator::Stream> PlanTranslator::translate_distinct_on(
    duckdb::LogicalDistinct& distinct) {
  MR_TRY(Stream input, translate(*distinct.children[0]));
  TopNSpec spec;
  MR_TRY(spec.partitions, resolve_all(distinct.distinct_targets, input.scope));
  if (distinct.order_by) {
    MR_TRY(spec.orders, order_keys(distinct.order_by->orders, input.scope));
  }
  spec.limit = 1;
  return put_top_n(std::move(spec), input);
}

}  // namespace millrace::flow

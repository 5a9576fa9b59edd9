#include "sql/detail/bounds.h"

#include <fmt/format.h>

#include <duckdb/execution/expression_executor.hpp>
#include <duckdb/planner/expression/bound_between_expression.hpp>
#include <duckdb/planner/expression/bound_cast_expression.hpp>
#include <duckdb/planner/expression/bound_columnref_expression.hpp>
#include <duckdb/planner/expression/bound_comparison_expression.hpp>
#include <duckdb/planner/operator/logical_get.hpp>

namespace millrace::sql {
namespace {

using duckdb::ExpressionType;

template <typename T>
void at_least(Range<T>& range, T value) {
  range.from = range.from ? std::max(*range.from, value) : value;
}
template <typename T>
void below(Range<T>& range, T value) {
  range.until = range.until ? std::min(*range.until, value) : value;
}

/// `range` op `value`, where `next` is the smallest value past `value`.
template <typename T>
void narrow(Range<T>& range, ExpressionType op, T value, T next) {
  switch (op) {
    case ExpressionType::COMPARE_EQUAL:
      at_least(range, value);
      below(range, next);
      break;
    case ExpressionType::COMPARE_GREATERTHAN:
    case ExpressionType::COMPARE_GREATERTHANOREQUALTO:
      at_least(range, value);
      break;
    case ExpressionType::COMPARE_LESSTHAN:
    case ExpressionType::COMPARE_LESSTHANOREQUALTO:
      below(range, next);
      break;
    default:
      break;
  }
}

/// A milliseconds bound for a comparison with `micros`: a record's time is whole milliseconds.
TimestampMs floor_ms(int64_t micros) {
  return micros >= 0 ? micros / 1000 : -((-micros + 999) / 1000);
}

class Reader {
 public:
  Reader(duckdb::ClientContext& context, duckdb::LogicalGet& get, ScanBind& bind)
      : context_(context), get_(get), bind_(bind) {}

  void read(const duckdb::Expression& filter) {
    if (filter.GetExpressionClass() == duckdb::ExpressionClass::BOUND_BETWEEN) {
      const auto& between = filter.Cast<duckdb::BoundBetweenExpression>();
      compare(*between.input, *between.lower, ExpressionType::COMPARE_GREATERTHANOREQUALTO);
      compare(*between.input, *between.upper, ExpressionType::COMPARE_LESSTHANOREQUALTO);
    }
    if (filter.GetExpressionClass() != duckdb::ExpressionClass::BOUND_COMPARISON) return;
    const auto& comparison = filter.Cast<duckdb::BoundComparisonExpression>();
    compare(*comparison.left, *comparison.right, filter.type);
    compare(*comparison.right, *comparison.left, duckdb::FlipComparisonExpression(filter.type));
  }

 private:
  void compare(const duckdb::Expression& column, const duckdb::Expression& value,
               ExpressionType op) {
    const auto name = column_name(column);
    if (name.empty() || !value.IsFoldable()) return;
    duckdb::Value constant;
    if (!duckdb::ExpressionExecutor::TryEvaluateScalar(context_, value, constant)) return;
    if (constant.IsNull()) return;
    if (name == "_timestamp") {
      if (constant.type().id() != duckdb::LogicalTypeId::TIMESTAMP_TZ) return;
      const auto micros = constant.GetValue<duckdb::timestamp_tz_t>().value;
      if (!duckdb::Timestamp::IsFinite(duckdb::timestamp_t(micros))) return;
      const auto ms = floor_ms(micros);
      narrow(bind_.timestamps, op, ms, ms + 1);
      return;
    }
    if (!constant.type().IsIntegral()) return;
    const auto number = constant.DefaultTryCastAs(duckdb::LogicalType::BIGINT)
                            ? constant.GetValue<int64_t>()
                            : std::numeric_limits<int64_t>::max();
    if (number == std::numeric_limits<int64_t>::max()) return;
    if (name == "_offset") narrow(bind_.offsets, op, number, number + 1);
    if (name == "_partition" && op == ExpressionType::COMPARE_EQUAL) {
      bind_.partition = static_cast<int32_t>(number);
    }
  }

  /// The hidden column that `expression` is, through a widening cast; empty when it is none.
  std::string column_name(const duckdb::Expression& expression) const {
    const auto* inner = &expression;
    if (inner->GetExpressionClass() == duckdb::ExpressionClass::BOUND_CAST) {
      const auto& cast = inner->Cast<duckdb::BoundCastExpression>();
      if (!cast.return_type.IsIntegral() || !cast.child->return_type.IsIntegral()) return {};
      inner = cast.child.get();
    }
    if (inner->GetExpressionClass() != duckdb::ExpressionClass::BOUND_COLUMN_REF) return {};
    const auto& ref = inner->Cast<duckdb::BoundColumnRefExpression>();
    if (ref.binding.table_index != get_.table_index) return {};
    const auto id = get_.GetColumnIds().at(ref.binding.column_index).GetPrimaryIndex();
    if (id == duckdb::COLUMN_IDENTIFIER_ROW_ID || id < duckdb::VIRTUAL_COLUMN_START) return {};
    return bind_.entry.relation_columns().at(relation_column_of(id)).name;
  }

  duckdb::ClientContext& context_;
  duckdb::LogicalGet& get_;
  ScanBind& bind_;
};

template <typename T>
std::string to_text(const Range<T>& range) {
  return fmt::format("[{}, {})", range.from ? std::to_string(*range.from) : "start",
                     range.until ? std::to_string(*range.until) : "end");
}

}  // namespace

void read_bounds(duckdb::ClientContext& context, duckdb::LogicalGet& get,
                 duckdb::FunctionData* bind,
                 duckdb::vector<duckdb::unique_ptr<duckdb::Expression>>& filters) {
  auto& ours = bind->Cast<ScanBind>();
  if (ours.entry.object().kind != catalog::Kind::kTopic) return;
  Reader reader(context, get, ours);
  for (const auto& filter : filters) reader.read(*filter);
}

void describe_bounds(const ScanBind& bind,
                     duckdb::InsertionOrderPreservingMap<std::string>& result) {
  if (bind.offsets.from || bind.offsets.until) result["Offsets"] = to_text(bind.offsets);
  if (bind.timestamps.from || bind.timestamps.until) {
    result["Timestamps (ms)"] = to_text(bind.timestamps);
  }
  if (bind.partition) result["Partition"] = std::to_string(*bind.partition);
}

}  // namespace millrace::sql

#include "flow/detail/frontier_map.h"

#include <duckdb/common/types/interval.hpp>
#include <duckdb/planner/expression/bound_cast_expression.hpp>
#include <duckdb/planner/expression/bound_constant_expression.hpp>
#include <duckdb/planner/expression/bound_function_expression.hpp>
#include <duckdb/planner/expression/bound_reference_expression.hpp>
#include <duckdb/planner/expression_iterator.hpp>
#include <limits>
#include <optional>

namespace millrace::flow {

namespace {

using duckdb::Expression;
using duckdb::ExpressionClass;

constexpr int64_t kDayUs = duckdb::Interval::MICROS_PER_DAY;

bool is_constant(const Expression& e) {
  return e.GetExpressionClass() == ExpressionClass::BOUND_CONSTANT;
}

/// A constant interval without months: adding months is not monotone (31 January and 30 January
/// both become 28 February, at their own times of day).
bool is_steady_interval(const Expression& e) {
  if (!is_constant(e) || e.return_type.id() != duckdb::LogicalTypeId::INTERVAL) return false;
  const auto& value = e.Cast<duckdb::BoundConstantExpression>().value;
  return !value.IsNull() && duckdb::IntervalValue::Get(value).months == 0;
}

std::optional<size_t> rising_column(const Expression& e);

std::optional<size_t> rising_function(const duckdb::BoundFunctionExpression& f) {
  const auto& name = f.function.name;
  const auto& args = f.children;
  if ((name == "time_bucket" || name == "date_trunc" || name == "datetrunc") && args.size() >= 2 &&
      is_constant(*args[0])) {
    for (size_t i = 2; i < args.size(); ++i)
      if (!is_constant(*args[i])) return std::nullopt;
    return rising_column(*args[1]);
  }
  if (args.size() != 2) return std::nullopt;
  if ((name == "+" || name == "-") && is_steady_interval(*args[1])) return rising_column(*args[0]);
  if (name == "+" && is_steady_interval(*args[0])) return rising_column(*args[1]);
  return std::nullopt;
}

std::optional<size_t> rising_column(const Expression& e) {
  if (!is_time(e.return_type)) return std::nullopt;
  switch (e.GetExpressionClass()) {
    case ExpressionClass::BOUND_REF:
      return e.Cast<duckdb::BoundReferenceExpression>().index;
    case ExpressionClass::BOUND_FUNCTION:
      return rising_function(e.Cast<duckdb::BoundFunctionExpression>());
    case ExpressionClass::BOUND_CAST: {
      // To and from WITH TIME ZONE, an hour repeats when summer time ends.
      const auto& child = *e.Cast<duckdb::BoundCastExpression>().child;
      const bool zoned = child.return_type.id() == duckdb::LogicalTypeId::TIMESTAMP_TZ ||
                         e.return_type.id() == duckdb::LogicalTypeId::TIMESTAMP_TZ;
      return zoned ? std::nullopt : rising_column(child);
    }
    default:
      return std::nullopt;
  }
}

void refer_to_first(Expression& e) {
  if (e.GetExpressionClass() == ExpressionClass::BOUND_REF)
    e.Cast<duckdb::BoundReferenceExpression>().index = 0;
  duckdb::ExpressionIterator::EnumerateChildren(e,
                                                [](Expression& child) { refer_to_first(child); });
}

duckdb::Value time_value(const duckdb::LogicalType& type, int64_t time_us) {
  switch (type.id()) {
    case duckdb::LogicalTypeId::TIMESTAMP_TZ:
      return duckdb::Value::TIMESTAMPTZ(duckdb::timestamp_tz_t(time_us));
    case duckdb::LogicalTypeId::DATE: {
      const int64_t day = time_us / kDayUs - (time_us % kDayUs < 0 ? 1 : 0);
      return duckdb::Value::DATE(duckdb::date_t(static_cast<int32_t>(day)));
    }
    default:
      return duckdb::Value::TIMESTAMP(duckdb::timestamp_t(time_us));
  }
}

bool adds_nothing(const Expression& e) {
  if (e.GetExpressionClass() == ExpressionClass::BOUND_FUNCTION) {
    const auto& name = e.Cast<duckdb::BoundFunctionExpression>().function.name;
    if (name == "+" || name == "-") return false;
  }
  bool nothing = true;
  duckdb::ExpressionIterator::EnumerateChildren(
      e, [&](const Expression& child) { nothing = nothing && adds_nothing(child); });
  return nothing;
}

}  // namespace

std::optional<size_t> rounded_column(const Expression& expression) {
  return adds_nothing(expression) ? rising_column(expression) : std::nullopt;
}

bool is_time(const duckdb::LogicalType& type) {
  return type.id() == duckdb::LogicalTypeId::TIMESTAMP ||
         type.id() == duckdb::LogicalTypeId::TIMESTAMP_TZ ||
         type.id() == duckdb::LogicalTypeId::DATE;
}

int64_t time_us_of(const duckdb::Value& value) {
  if (value.type().id() == duckdb::LogicalTypeId::DATE) {
    const auto date = value.GetValueUnsafe<duckdb::date_t>();
    if (date == duckdb::date_t::infinity()) return std::numeric_limits<int64_t>::max();
    if (date == duckdb::date_t::ninfinity()) return std::numeric_limits<int64_t>::min();
    return int64_t{date.days} * kDayUs;
  }
  return value.GetValueUnsafe<int64_t>();
}

FrontierMap::FrontierMap(duckdb::ClientContext& context, const Evaluator& expressions) {
  for (size_t i = 0; i < expressions.size(); ++i) {
    const auto column = rising_column(expressions[i]);
    if (!column) continue;
    if (expressions[i].GetExpressionClass() == ExpressionClass::BOUND_REF) {
      rising_.push_back({*column, i, expressions[i].return_type, nullptr});
      continue;
    }
    auto copy = expressions[i].Copy();
    duckdb::LogicalType type;
    const std::function<void(const Expression&)> find = [&](const Expression& e) {
      if (e.GetExpressionClass() == ExpressionClass::BOUND_REF) type = e.return_type;
      duckdb::ExpressionIterator::EnumerateChildren(e, find);
    };
    find(*copy);
    refer_to_first(*copy);
    Expressions one;
    one.push_back(std::move(copy));
    rising_.push_back({*column, i, type, std::make_unique<Evaluator>(context, std::move(one))});
  }
}

std::vector<Frontier> FrontierMap::map(const std::vector<Frontier>& input) {
  std::vector<Frontier> out;
  for (const auto& frontier : input) {
    for (auto& rising : rising_) {
      if (rising.input != frontier.column) continue;
      if (!rising.expression) {
        out.push_back({rising.output, frontier.time_us});
        continue;
      }
      duckdb::DataChunk in, result;
      make_chunk(in, {rising.type}, 1);
      in.SetValue(0, 0, time_value(rising.type, frontier.time_us));
      in.SetCardinality(1);
      try {
        rising.expression->evaluate(in, result);
      } catch (const std::exception&) {
        continue;  // out of the expression's range: nothing is promised
      }
      const auto value = result.GetValue(0, 0);
      if (!value.IsNull()) out.push_back({rising.output, time_us_of(value)});
    }
  }
  return out;
}

}  // namespace millrace::flow

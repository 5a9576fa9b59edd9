#include "flow/detail/time_bound.h"

#include <algorithm>
#include <duckdb/common/types/interval.hpp>
#include <duckdb/planner/expression/bound_between_expression.hpp>
#include <duckdb/planner/expression/bound_cast_expression.hpp>
#include <duckdb/planner/expression/bound_comparison_expression.hpp>
#include <duckdb/planner/expression/bound_conjunction_expression.hpp>
#include <duckdb/planner/expression/bound_constant_expression.hpp>
#include <duckdb/planner/expression/bound_function_expression.hpp>
#include <duckdb/planner/expression/bound_reference_expression.hpp>
#include <limits>
#include <vector>

#include "flow/detail/frontier_map.h"

namespace millrace::flow {

namespace {

using duckdb::Expression;
using duckdb::ExpressionClass;
using duckdb::ExpressionType;

/// A constant interval without months, in microseconds.
std::optional<duckdb::interval_t> steady_interval(const Expression& e) {
  if (e.GetExpressionClass() != ExpressionClass::BOUND_CONSTANT ||
      e.return_type.id() != duckdb::LogicalTypeId::INTERVAL)
    return std::nullopt;
  const auto& value = e.Cast<duckdb::BoundConstantExpression>().value;
  if (value.IsNull() || duckdb::IntervalValue::Get(value).months != 0) return std::nullopt;
  return duckdb::IntervalValue::Get(value);
}

/// A time column of both sides side by side, and what is added to it.
struct Term {
  size_t column = 0;
  int64_t shift_us = 0;
  int64_t slack_us = 0;  // by which the shift may be wrong
};

std::optional<Term> term_of(const Expression& e);

std::optional<Term> shifted(const Expression& time, const Expression& by, int64_t sign) {
  auto term = term_of(time);
  const auto interval = steady_interval(by);
  if (!term || !interval) return std::nullopt;
  int64_t us = 0;
  if (!duckdb::Interval::TryGetMicro(*interval, us)) return std::nullopt;
  term->shift_us += sign * us;
  // A day of a time zone is not always one of 24 hours.
  if (interval->days != 0 && time.return_type.id() == duckdb::LogicalTypeId::TIMESTAMP_TZ)
    term->slack_us += duckdb::Interval::MICROS_PER_DAY;
  return term;
}

std::optional<Term> term_of(const Expression& e) {
  if (!is_time(e.return_type)) return std::nullopt;
  switch (e.GetExpressionClass()) {
    case ExpressionClass::BOUND_REF:
      return Term{e.Cast<duckdb::BoundReferenceExpression>().index};
    case ExpressionClass::BOUND_CAST: {
      const auto& child = *e.Cast<duckdb::BoundCastExpression>().child;
      const bool same = child.return_type.id() == duckdb::LogicalTypeId::DATE &&
                        e.return_type.id() == duckdb::LogicalTypeId::TIMESTAMP;
      return same ? term_of(child) : std::nullopt;
    }
    case ExpressionClass::BOUND_FUNCTION: {
      const auto& f = e.Cast<duckdb::BoundFunctionExpression>();
      if (f.children.size() != 2) return std::nullopt;
      if (f.function.name == "-") return shifted(*f.children[0], *f.children[1], -1);
      if (f.function.name != "+") return std::nullopt;
      const auto term = shifted(*f.children[0], *f.children[1], 1);
      return term ? term : shifted(*f.children[1], *f.children[0], 1);
    }
    default:
      return std::nullopt;
  }
}

/// Of `a - b`, the time between two: the two, and by how much it may be wrong. Times are taken from
/// each other to the microsecond; with time zones, days between them may be of 23 or 25 hours.
struct Difference {
  Term from, taken;
};
std::optional<Difference> difference_of(const Expression& e) {
  if (!is_time_difference(e)) return std::nullopt;
  const auto& f = e.Cast<duckdb::BoundFunctionExpression>();
  if (f.function.name != "-") return difference_of(*f.children[0]);
  auto from = term_of(*f.children[0]), taken = term_of(*f.children[1]);
  if (!from || !taken) return std::nullopt;
  if (f.children[0]->return_type.id() == duckdb::LogicalTypeId::TIMESTAMP_TZ)
    from->slack_us += duckdb::Interval::MICROS_PER_DAY;
  return Difference{*from, *taken};
}

/// A constant interval as DuckDB compares it: a month has 30 days, a day 24 hours.
std::optional<int64_t> compared_interval(const Expression& e) {
  if (e.GetExpressionClass() != ExpressionClass::BOUND_CONSTANT ||
      e.return_type.id() != duckdb::LogicalTypeId::INTERVAL)
    return std::nullopt;
  const auto& value = e.Cast<duckdb::BoundConstantExpression>().value;
  if (value.IsNull()) return std::nullopt;
  const auto interval = duckdb::IntervalValue::Get(value);
  const auto [least, most] =
      std::minmax<int64_t>({interval.months, interval.days, interval.micros});
  int64_t us = 0;
  if ((least < 0 && most > 0) || !duckdb::Interval::TryGetMicro(interval, us)) return std::nullopt;
  return us;
}

/// Collects what the conditions of one join say, by pair of columns.
class Bounds {
 public:
  explicit Bounds(size_t left_columns) : left_columns_(left_columns) {}

  void equal(const Term& left, const Term& right, bool null_equals_null) {
    add(left, right, ExpressionType::COMPARE_EQUAL);
    of(left.column, right.column - left_columns_).null_equals_null = null_equals_null;
  }

  void add(const Expression& e) {
    if (e.GetExpressionClass() == ExpressionClass::BOUND_CONJUNCTION &&
        e.GetExpressionType() == ExpressionType::CONJUNCTION_AND) {
      for (const auto& child : e.Cast<duckdb::BoundConjunctionExpression>().children) add(*child);
    } else if (e.GetExpressionClass() == ExpressionClass::BOUND_BETWEEN) {
      const auto& between = e.Cast<duckdb::BoundBetweenExpression>();
      compare(*between.input, *between.lower, ExpressionType::COMPARE_GREATERTHANOREQUALTO);
      compare(*between.input, *between.upper, ExpressionType::COMPARE_LESSTHANOREQUALTO);
    } else if (e.GetExpressionClass() == ExpressionClass::BOUND_COMPARISON) {
      const auto& comparison = e.Cast<duckdb::BoundComparisonExpression>();
      compare(*comparison.left, *comparison.right, e.GetExpressionType());
    }
  }

  std::optional<TimeBounds> best() const {
    if (all_.empty()) return std::nullopt;
    const auto rank = [](const Pair& pair) {
      return std::pair(pair.low && pair.high, pair.interval);
    };
    const auto& first = *std::ranges::max_element(all_, {}, rank);
    TimeBounds bounds;
    for (const auto* pair : in_order(first)) {
      if (!bounds.low && pair->low)
        bounds.low = {pair->left, pair->right, *pair->low, pair->null_equals_null};
      if (!bounds.high && pair->high)
        bounds.high = {pair->left, pair->right, *pair->high, pair->null_equals_null};
    }
    bounds.interval = first.interval;
    return bounds;
  }

 private:
  void compare(const Expression& a, const Expression& b, ExpressionType type) {
    const auto left = term_of(a), right = term_of(b);
    if (left && right) add(*left, *right, type);
    compare_difference(a, b, type);
    compare_difference(b, a, duckdb::FlipComparisonExpression(type));
  }

  void compare_difference(const Expression& a, const Expression& b, ExpressionType type) {
    auto difference = difference_of(a);
    const auto interval = compared_interval(b);
    if (!difference || !interval) return;
    difference->taken.shift_us += *interval;
    add(difference->from, difference->taken, type);
  }

  void add(const Term& a, const Term& b, ExpressionType type) {
    if (a.column >= left_columns_) {
      if (b.column < left_columns_) add(b, a, duckdb::FlipComparisonExpression(type));
      return;
    }
    if (b.column < left_columns_) return;
    // a + x `type` b + y, so a - b `type` y - x
    const int64_t apart = b.shift_us - a.shift_us, slack = a.slack_us + b.slack_us;
    const bool equal = type == ExpressionType::COMPARE_EQUAL;
    const bool above = type == ExpressionType::COMPARE_GREATERTHAN ||
                       type == ExpressionType::COMPARE_GREATERTHANOREQUALTO;
    const bool below = type == ExpressionType::COMPARE_LESSTHAN ||
                       type == ExpressionType::COMPARE_LESSTHANOREQUALTO;
    if (!equal && !above && !below) return;
    auto& bound = of(a.column, b.column - left_columns_);
    bound.interval = bound.interval || !equal;
    if (equal || above) bound.low = std::max(bound.low.value_or(apart - slack), apart - slack);
    if (equal || below) bound.high = std::min(bound.high.value_or(apart + slack), apart + slack);
  }

  struct Pair {
    size_t left, right;  // columns of the two inputs
    std::optional<int64_t> low, high;
    bool interval, null_equals_null;
  };

  Pair& of(size_t left, size_t right) {
    for (auto& pair : all_)
      if (pair.left == left && pair.right == right) return pair;
    all_.push_back({left, right, std::nullopt, std::nullopt, false, false});
    return all_.back();
  }

  std::vector<const Pair*> in_order(const Pair& first) const {
    std::vector<const Pair*> pairs{&first};
    for (const auto& pair : all_)
      if (&pair != &first) pairs.push_back(&pair);
    return pairs;
  }

  size_t left_columns_;
  std::vector<Pair> all_;
};

}  // namespace

bool is_time_difference(const Expression& e) {
  if (e.GetExpressionClass() != ExpressionClass::BOUND_FUNCTION ||
      e.return_type.id() != duckdb::LogicalTypeId::INTERVAL)
    return false;
  const auto& f = e.Cast<duckdb::BoundFunctionExpression>();
  // DuckDB wraps an interval that it compares in this.
  if (f.function.name == "normalized_interval") return is_time_difference(*f.children[0]);
  return f.function.name == "-" && f.children.size() == 2 && is_time(f.children[0]->return_type) &&
         is_time(f.children[1]->return_type);
}

int64_t add_time(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b > 0 ? std::numeric_limits<int64_t>::max() : std::numeric_limits<int64_t>::min();
}

std::optional<TimeBounds> time_bounds_of(const JoinSpec& spec) {
  const size_t left_columns = spec.left_types.size();
  Bounds bounds(left_columns);
  for (size_t i = 0; i < spec.left_keys.size(); ++i) {
    const auto left = term_of(*spec.left_keys[i]);
    auto right = term_of(*spec.right_keys[i]);
    if (!left || !right) continue;
    right->column += left_columns;
    bounds.equal(*left, *right, spec.null_equals_null[i]);
  }
  for (const auto& condition : spec.residual) bounds.add(*condition);
  return bounds.best();
}

}  // namespace millrace::flow

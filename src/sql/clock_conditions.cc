#include "sql/clock_conditions.h"

#include <duckdb.hpp>
#include <duckdb/execution/expression_executor.hpp>
#include <duckdb/planner/expression/bound_between_expression.hpp>
#include <duckdb/planner/expression/bound_cast_expression.hpp>
#include <duckdb/planner/expression/bound_columnref_expression.hpp>
#include <duckdb/planner/expression/bound_comparison_expression.hpp>
#include <duckdb/planner/expression/bound_conjunction_expression.hpp>
#include <duckdb/planner/expression/bound_constant_expression.hpp>
#include <duckdb/planner/expression/bound_function_expression.hpp>
#include <duckdb/planner/expression/bound_operator_expression.hpp>
#include <duckdb/planner/expression_iterator.hpp>
#include <duckdb/planner/logical_operator_visitor.hpp>
#include <duckdb/planner/operator/logical_filter.hpp>

namespace millrace::sql {
namespace {

using duckdb::Expression;
using duckdb::ExpressionClass;
using duckdb::ExpressionType;
using duckdb::LogicalTypeId;
using ExpressionPtr = duckdb::unique_ptr<Expression>;

constexpr int64_t kDayUs = duckdb::Interval::MICROS_PER_DAY;

/// Whether it is now(), or holds for one query only like it. DuckDB does not say so of all.
bool is_moving(const duckdb::BoundFunctionExpression& call) {
  const auto& name = call.function.name;
  return call.function.GetStability() == duckdb::FunctionStability::CONSISTENT_WITHIN_QUERY ||
         name == "current_localtimestamp" || name == "current_localtime" ||
         (name == "age" && call.children.size() == 1);
}

const duckdb::BoundFunctionExpression* moving_function(const Expression& expression) {
  const duckdb::BoundFunctionExpression* found = nullptr;
  if (expression.GetExpressionClass() == ExpressionClass::BOUND_FUNCTION) {
    const auto& call = expression.Cast<duckdb::BoundFunctionExpression>();
    if (is_moving(call)) found = &call;
  }
  duckdb::ExpressionIterator::EnumerateChildren(expression, [&](const Expression& child) {
    if (!found) found = moving_function(child);
  });
  return found;
}

bool has_column(const Expression& expression) {
  bool found = expression.GetExpressionClass() == ExpressionClass::BOUND_COLUMN_REF;
  duckdb::ExpressionIterator::EnumerateChildren(
      expression, [&](const Expression& child) { found = found || has_column(child); });
  return found;
}

bool is_time(const duckdb::LogicalType& type) {
  return type.id() == LogicalTypeId::TIMESTAMP || type.id() == LogicalTypeId::TIMESTAMP_TZ ||
         type.id() == LogicalTypeId::DATE;
}

/// The clock rounded down to units, so many months on, and an offset.
struct Moment {
  int64_t unit_us = 1;
  int64_t months = 0;
  int64_t offset_us = 0;
};

/// Rounds a moment down once more.
std::optional<Moment> rounded(const Moment& moment, int64_t unit_us) {
  if (moment.offset_us % unit_us != 0) return std::nullopt;
  if (unit_us % moment.unit_us == 0) return Moment{unit_us, moment.months, moment.offset_us};
  return moment.unit_us % unit_us == 0 ? std::optional(moment) : std::nullopt;
}

/// Reads an expression of the clock and constants. (Times are UTC in a view: a day has 24 hours.)
class MomentReader {
 public:
  explicit MomentReader(duckdb::ClientContext& context) : context_(context) {}

  std::optional<Moment> read(const Expression& expression) const {
    if (!is_time(expression.return_type)) return std::nullopt;
    if (expression.GetExpressionClass() == ExpressionClass::BOUND_CAST) {
      const auto moment = read(*expression.Cast<duckdb::BoundCastExpression>().child);
      const bool to_day = expression.return_type.id() == LogicalTypeId::DATE;
      return moment && to_day ? rounded(*moment, kDayUs) : moment;
    }
    if (expression.GetExpressionClass() != ExpressionClass::BOUND_FUNCTION) return std::nullopt;
    const auto& call = expression.Cast<duckdb::BoundFunctionExpression>();
    if (is_moving(call))
      return Moment{call.return_type.id() == LogicalTypeId::DATE ? kDayUs : 1, 0, 0};
    return call.children.size() == 2 ? read_call(call) : std::nullopt;
  }

 private:
  std::optional<Moment> read_call(const duckdb::BoundFunctionExpression& call) const {
    const auto& name = call.function.name;
    if (name == "+" || name == "-") {
      const bool first = read(*call.children[0]).has_value();
      if (!first && name == "-") return std::nullopt;
      auto moment = read(*call.children[first ? 0 : 1]);
      const auto by = shift(*call.children[first ? 1 : 0]);
      if (!moment || !by) return std::nullopt;
      const auto [months, us] = *by;
      // Months are added first, and once: their days differ.
      if (months != 0 && (moment->months != 0 || moment->offset_us != 0)) return std::nullopt;
      moment->months += name == "+" ? months : -months;
      moment->offset_us += name == "+" ? us : -us;
      return moment;
    }
    if (name == "date_trunc" || name == "datetrunc") {
      const auto moment = read(*call.children[1]);
      const auto unit = unit_of(*call.children[0]);
      return moment && unit ? rounded(*moment, *unit) : std::nullopt;
    }
    return std::nullopt;
  }

  /// What a constant adds, months and microseconds: an interval, or days as a number.
  std::optional<std::pair<int64_t, int64_t>> shift(const Expression& expression) const {
    const auto value = constant(expression);
    if (!value || value->IsNull()) return std::nullopt;
    if (value->type().IsIntegral()) {
      const auto days = value->GetValue<int64_t>();
      if (std::abs(days) >= 10'000'000) return std::nullopt;
      return std::pair<int64_t, int64_t>(0, days * kDayUs);
    }
    if (value->type().id() != LogicalTypeId::INTERVAL) return std::nullopt;
    auto interval = duckdb::IntervalValue::Get(*value);
    const int64_t months = std::exchange(interval.months, 0);
    if (std::abs(months) > 12'000) return std::nullopt;
    return std::pair<int64_t, int64_t>(months, duckdb::Interval::GetMicro(interval));
  }

  std::optional<int64_t> unit_of(const Expression& expression) const {
    const auto value = constant(expression);
    if (!value || value->IsNull()) return std::nullopt;
    const auto name = duckdb::StringUtil::Lower(value->ToString());
    if (name == "day") return kDayUs;
    if (name == "hour") return duckdb::Interval::MICROS_PER_HOUR;
    if (name == "minute") return duckdb::Interval::MICROS_PER_MINUTE;
    if (name == "second") return duckdb::Interval::MICROS_PER_SEC;
    return std::nullopt;
  }

  std::optional<duckdb::Value> constant(const Expression& expression) const {
    if (!expression.IsFoldable()) return std::nullopt;
    return duckdb::ExpressionExecutor::EvaluateScalar(context_, expression);
  }

  duckdb::ClientContext& context_;
};

Error cannot_move(const duckdb::BoundFunctionExpression& moving, const std::string& why) {
  Error error{ErrorCode::kNotSupported, moving.function.name +
                                            "(), whose value moves with time, cannot be kept up "
                                            "to date in a materialized view " +
                                            why};
  error.hint =
      "Compare a time of the row with it in WHERE: ts > now() - INTERVAL '1 hour', or BETWEEN, "
      "with "
      "AND, OR and NOT; +, -, date_trunc and casts of it may take constants.";
  if (moving.query_location.IsValid()) error.position = moving.query_location.GetIndex();
  return error;
}

ExpressionPtr marked(ExpressionPtr time, ExpressionType comparison, const Moment& moment) {
  // Never run: it is looked for in the plan. NULL is what the optimizer asks for, to see whether
  // it takes out the rows that an outer join fills with NULL.
  duckdb::ScalarFunction function(
      std::string(kClockCondition),
      {time->return_type, duckdb::LogicalType::INTEGER, duckdb::LogicalType::BIGINT,
       duckdb::LogicalType::BIGINT, duckdb::LogicalType::BIGINT},
      duckdb::LogicalType::BOOLEAN,
      [](duckdb::DataChunk& arguments, duckdb::ExpressionState&, duckdb::Vector& result) {
        if (!arguments.data[0].GetValue(0).IsNull())
          throw duckdb::InvalidInputException("a condition on the clock has no value in a plan");
        result.Reference(duckdb::Value(duckdb::LogicalType::BOOLEAN));
      });
  const auto location = time->query_location;
  duckdb::vector<ExpressionPtr> arguments;
  arguments.push_back(std::move(time));
  arguments.push_back(duckdb::make_uniq<duckdb::BoundConstantExpression>(
      duckdb::Value::INTEGER(static_cast<int32_t>(comparison))));
  for (const int64_t number : {moment.unit_us, moment.months, moment.offset_us})
    arguments.push_back(
        duckdb::make_uniq<duckdb::BoundConstantExpression>(duckdb::Value::BIGINT(number)));
  auto call = duckdb::make_uniq<duckdb::BoundFunctionExpression>(
      duckdb::LogicalType::BOOLEAN, std::move(function), std::move(arguments), nullptr);
  call->query_location = location;
  return call;
}

/// The comparison as a marked call; an error says what is wrong with it.
Result<ExpressionPtr> mark_comparison(duckdb::ClientContext& context, ExpressionPtr condition) {
  const auto& moving = *moving_function(*condition);
  if (condition->GetExpressionClass() != ExpressionClass::BOUND_COMPARISON)
    return cannot_move(moving, "in such a condition");
  auto& comparison = condition->Cast<duckdb::BoundComparisonExpression>();
  auto type = comparison.type;
  auto *time = &comparison.left, *clock = &comparison.right;
  if (moving_function(**time)) {
    std::swap(time, clock);
    type = duckdb::FlipComparisonExpression(type);
  }
  const bool known = type == ExpressionType::COMPARE_EQUAL ||
                     type == ExpressionType::COMPARE_LESSTHAN ||
                     type == ExpressionType::COMPARE_LESSTHANOREQUALTO ||
                     type == ExpressionType::COMPARE_GREATERTHAN ||
                     type == ExpressionType::COMPARE_GREATERTHANOREQUALTO;
  if (!known) return cannot_move(moving, "in this comparison");
  if (moving_function(**time) || !has_column(**time))
    return cannot_move(moving, "where no time of the row is compared with it");
  const auto moment = MomentReader(context).read(**clock);
  if (!moment) return cannot_move(moving, "inside this expression");
  if ((*time)->return_type.id() == LogicalTypeId::DATE)
    *time = duckdb::BoundCastExpression::AddCastToType(context, std::move(*time),
                                                       duckdb::LogicalType::TIMESTAMP);
  return marked(std::move(*time), type, *moment);
}

ExpressionPtr compared(ExpressionType type, const Expression& left, const Expression& right) {
  return duckdb::make_uniq<duckdb::BoundComparisonExpression>(type, left.Copy(), right.Copy());
}

ExpressionPtr together(ExpressionType type, ExpressionPtr a, ExpressionPtr b) {
  return duckdb::make_uniq<duckdb::BoundConjunctionExpression>(type, std::move(a), std::move(b));
}

/// A condition in which the clock stands in comparisons `<`, `<=`, `>`, `>=` and `=` alone, with
/// AND and OR above them; where it stands elsewhere it is left there. A NOT goes to the
/// comparisons: which rows pass stays the same, since both forms are NULL for the same ones.
ExpressionPtr simplified(ExpressionPtr e, bool negated) {
  constexpr auto kAnd = ExpressionType::CONJUNCTION_AND, kOr = ExpressionType::CONJUNCTION_OR;
  if (e->GetExpressionType() == ExpressionType::OPERATOR_NOT && moving_function(*e))
    return simplified(std::move(e->Cast<duckdb::BoundOperatorExpression>().children[0]), !negated);
  if (moving_function(*e) && e->GetExpressionClass() == ExpressionClass::BOUND_CONJUNCTION) {
    auto all = duckdb::make_uniq<duckdb::BoundConjunctionExpression>(
        (e->type == kAnd) == negated ? kOr : kAnd);
    for (auto& child : e->Cast<duckdb::BoundConjunctionExpression>().children)
      all->children.push_back(simplified(std::move(child), negated));
    return all;
  }
  if (moving_function(*e) && e->GetExpressionClass() == ExpressionClass::BOUND_BETWEEN) {
    auto& between = e->Cast<duckdb::BoundBetweenExpression>();
    auto both =
        together(kAnd, compared(between.LowerComparisonType(), *between.input, *between.lower),
                 compared(between.UpperComparisonType(), *between.input, *between.upper));
    return simplified(std::move(both), negated);
  }
  if (moving_function(*e) && e->GetExpressionClass() == ExpressionClass::BOUND_COMPARISON) {
    auto& comparison = e->Cast<duckdb::BoundComparisonExpression>();
    const auto type = negated ? duckdb::NegateComparisonExpression(e->type) : e->type;
    if (type != ExpressionType::COMPARE_NOTEQUAL)
      return compared(type, *comparison.left, *comparison.right);
    return together(
        kOr, compared(ExpressionType::COMPARE_LESSTHAN, *comparison.left, *comparison.right),
        compared(ExpressionType::COMPARE_GREATERTHAN, *comparison.left, *comparison.right));
  }
  if (!negated) return e;
  auto no = duckdb::make_uniq<duckdb::BoundOperatorExpression>(ExpressionType::OPERATOR_NOT,
                                                               duckdb::LogicalType::BOOLEAN);
  no->children.push_back(std::move(e));
  return no;
}

/// Marks the comparisons of such a condition.
Result<ExpressionPtr> mark(duckdb::ClientContext& context, ExpressionPtr condition) {
  if (!moving_function(*condition)) return condition;
  if (condition->GetExpressionClass() != ExpressionClass::BOUND_CONJUNCTION)
    return mark_comparison(context, std::move(condition));
  for (auto& child : condition->Cast<duckdb::BoundConjunctionExpression>().children) {
    MR_TRY(child, mark(context, std::move(child)));
  }
  return condition;
}

}  // namespace

Result<> mark_clock_conditions(duckdb::ClientContext& context, duckdb::LogicalOperator& plan) {
  if (plan.type == duckdb::LogicalOperatorType::LOGICAL_FILTER) {
    auto& filter = plan.Cast<duckdb::LogicalFilter>();
    for (auto& condition : filter.expressions) condition = simplified(std::move(condition), false);
    filter.SplitPredicates();
    for (auto& condition : filter.expressions) {
      MR_TRY(condition, mark(context, std::move(condition)));
    }
  }
  const duckdb::BoundFunctionExpression* moving = nullptr;
  duckdb::LogicalOperatorVisitor::EnumerateExpressions(plan, [&](ExpressionPtr* expression) {
    if (!moving) moving = moving_function(**expression);
  });
  if (moving) return cannot_move(*moving, "outside of WHERE");
  for (auto& child : plan.children) MR_TRY(mark_clock_conditions(context, *child));
  return {};
}

}  // namespace millrace::sql

#include "sql/windows.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <duckdb.hpp>
#include <duckdb/common/exception/binder_exception.hpp>
#include <duckdb/execution/expression_executor.hpp>
#include <duckdb/function/aggregate_function.hpp>
#include <duckdb/main/extension/extension_loader.hpp>
#include <duckdb/parser/expression/columnref_expression.hpp>
#include <duckdb/parser/expression/constant_expression.hpp>
#include <duckdb/parser/expression/function_expression.hpp>
#include <duckdb/parser/expression/subquery_expression.hpp>
#include <duckdb/parser/parsed_expression_iterator.hpp>
#include <duckdb/parser/parser.hpp>
#include <duckdb/parser/query_node/list.hpp>
#include <duckdb/parser/statement/list.hpp>
#include <duckdb/parser/tableref/list.hpp>
#include <duckdb/planner/expression/bound_cast_expression.hpp>
#include <duckdb/planner/expression/bound_constant_expression.hpp>
#include <map>

#include "sql/detail/tree.h"

namespace millrace::sql {
namespace {

using ExpressionPtr = duckdb::unique_ptr<duckdb::ParsedExpression>;
using Arguments = std::map<std::string, ExpressionPtr>;

// The windows in plain SQL; millrace_* stand for the arguments.
constexpr const char* kTumble =
    "SELECT *, time_bucket(millrace_size, millrace_time) AS window_start, "
    "time_bucket(millrace_size, millrace_time) + millrace_size AS window_end FROM millrace_rel";
// A window [s, s + size) holds t when s is the start of a slide with t - size < s <= t.
constexpr const char* kHop =
    "SELECT *, window_start + millrace_size AS window_end FROM (SELECT *, unnest(generate_series("
    "time_bucket(millrace_slide, millrace_time - millrace_size) + millrace_slide, "
    "time_bucket(millrace_slide, millrace_time), millrace_slide)) AS window_start "
    "FROM millrace_rel)";
// The windows that begin together end a step apart; t is in those that end after it.
constexpr const char* kCumulate =
    "SELECT *, time_bucket(millrace_size, millrace_time) AS window_start, "
    "unnest(generate_series(time_bucket(millrace_step, millrace_time) + millrace_step, "
    "time_bucket(millrace_size, millrace_time) + millrace_size, millrace_step)) AS window_end "
    "FROM millrace_rel";

constexpr const char* kCheck = "millrace_window_argument";
constexpr const char* kCheckStep = "millrace_cumulate_step";

/// `partition`: PARTITION BY the keys, if there are any. Of its plan an operator is made. (Without
/// ORDER BY, DuckDB's optimizer would turn functions of whole partitions into aggregates.)
std::string session_for_view(const std::string& partition) {
  return fmt::format(
      "SELECT *, {1}(millrace_time, millrace_gap) OVER ({0} ORDER BY millrace_time) AS "
      "window_start, {2}(millrace_time, millrace_gap) OVER ({0} ORDER BY millrace_time) AS "
      "window_end FROM millrace_rel",
      partition, kSessionStart, kSessionEnd);
}

/// A row begins a session when it comes more than the gap after the one before; a session is
/// numbered by how many began up to it. `keys`: how many there are.
std::string session_for_query(size_t keys) {
  std::string named, partition;
  std::vector<std::string> names;
  for (size_t i = 0; i < keys; ++i) {
    names.push_back(fmt::format("millrace_k{}", i));
    named += fmt::format(", millrace_key{0} AS millrace_k{0}", i);
  }
  const auto before = keys == 0 ? "" : fmt::format("PARTITION BY {}", fmt::join(names, ", "));
  names.push_back("millrace_n");
  return fmt::format(
      "SELECT * EXCLUDE ({1}, millrace_t, millrace_fresh), CASE WHEN millrace_t IS NOT NULL THEN "
      "min(millrace_t) OVER (PARTITION BY {1}) END AS window_start, CASE WHEN millrace_t IS NOT "
      "NULL THEN max(millrace_t) OVER (PARTITION BY {1}) + millrace_gap END AS window_end "
      "FROM (SELECT *, count(*) FILTER (WHERE millrace_fresh) OVER ({0} ORDER BY millrace_t ASC "
      "NULLS LAST) AS millrace_n "
      "FROM (SELECT *, millrace_t > lag(millrace_t) OVER ({0} ORDER BY millrace_t ASC NULLS LAST) "
      "+ millrace_gap AS millrace_fresh "
      "FROM (SELECT *, millrace_time AS millrace_t{2} FROM millrace_rel)))",
      before, fmt::join(names, ", "), named);
}

/// Puts the arguments in place of their names. The template's own nodes get the call's position,
/// so that errors in them point at the call.
void substitute(ExpressionPtr& expression, const Arguments& arguments, duckdb::optional_idx at) {
  if (expression->GetExpressionClass() == duckdb::ExpressionClass::COLUMN_REF) {
    const auto& ref = expression->Cast<duckdb::ColumnRefExpression>();
    const auto found = arguments.find(ref.GetColumnName());
    if (found != arguments.end()) {
      expression = found->second->Copy();
      return;
    }
  }
  expression->SetQueryLocation(at);
  const std::function<void(ExpressionPtr&)> each = [&](ExpressionPtr& child) {
    substitute(child, arguments, at);
  };
  duckdb::ParsedExpressionIterator::EnumerateChildren(*expression, each);
}

/// Fills in a template and the subqueries in its FROM; the innermost reads `relation`.
void fill(duckdb::QueryNode& node, const Arguments& arguments, duckdb::optional_idx at,
          duckdb::unique_ptr<duckdb::TableRef> relation) {
  auto& select = node.Cast<duckdb::SelectNode>();
  for (auto& expression : select.select_list) {
    const auto alias = expression->GetAlias();
    substitute(expression, arguments, at);
    expression->SetAlias(alias);
  }
  if (select.from_table->type != duckdb::TableReferenceType::SUBQUERY) {
    select.from_table = std::move(relation);
    return;
  }
  auto& inner = select.from_table->Cast<duckdb::SubqueryRef>();
  inner.query_location = at;
  fill(*inner.subquery->node, arguments, at, std::move(relation));
}

/// The relation argument as a FROM item: a name or a subquery.
duckdb::unique_ptr<duckdb::TableRef> relation_of(duckdb::ParsedExpression& argument,
                                                 const std::string& function) {
  if (argument.GetExpressionClass() == duckdb::ExpressionClass::COLUMN_REF) {
    auto& names = argument.Cast<duckdb::ColumnRefExpression>().column_names;
    auto table = duckdb::make_uniq<duckdb::BaseTableRef>();
    table->query_location = argument.GetQueryLocation();
    table->table_name = names.back();
    if (names.size() > 1) table->schema_name = names[names.size() - 2];
    if (names.size() > 2) table->catalog_name = names[names.size() - 3];
    return table;
  }
  if (argument.GetExpressionClass() == duckdb::ExpressionClass::SUBQUERY) {
    auto& subquery = argument.Cast<duckdb::SubqueryExpression>();
    auto ref = duckdb::make_uniq<duckdb::SubqueryRef>(std::move(subquery.subquery));
    ref->query_location = argument.GetQueryLocation();
    return ref;
  }
  throw duckdb::BinderException(argument,
                                "the first argument of %s must be a relation: a name or a subquery "
                                "in parentheses",
                                function);
}

/// A function in FROM that gives windows.
struct WindowKind {
  const char* name;
  const char* takes;
  std::vector<const char*> arguments;  // behind the relation
  bool keys = false;                   // and any number of keys
};

const WindowKind* kind_of(const std::string& name) {
  static const WindowKind kinds[] = {
      {"TUMBLE", "a relation, a time and a size", {"time", "size"}},
      {"HOP", "a relation, a time, a slide and a size", {"time", "slide", "size"}},
      {"CUMULATE", "a relation, a time, a step and a size", {"time", "step", "size"}},
      {"SESSION", "a relation, a time, a gap, and keys if there are any", {"time", "gap"}, true}};
  for (const auto& kind : kinds)
    if (duckdb::StringUtil::CIEquals(name, kind.name)) return &kind;
  return nullptr;
}

ExpressionPtr call_of(const char* function, std::vector<ExpressionPtr> arguments) {
  duckdb::vector<ExpressionPtr> children;
  for (auto& argument : arguments) children.push_back(std::move(argument));
  return duckdb::make_uniq<duckdb::FunctionExpression>(function, std::move(children));
}

/// The argument, looked at when its type is known.
ExpressionPtr checked(const WindowKind& kind, const char* what, const ExpressionPtr& argument) {
  std::vector<ExpressionPtr> arguments;
  arguments.push_back(duckdb::make_uniq<duckdb::ConstantExpression>(duckdb::Value(kind.name)));
  arguments.push_back(duckdb::make_uniq<duckdb::ConstantExpression>(duckdb::Value(what)));
  arguments.push_back(argument->Copy());
  auto call = call_of(kCheck, std::move(arguments));
  call->SetQueryLocation(argument->GetQueryLocation());
  return call;
}

Arguments arguments_of(const WindowKind& kind, const duckdb::FunctionExpression& call) {
  const size_t named = kind.arguments.size();
  if (call.children.size() < named + 1 || (call.children.size() > named + 1 && !kind.keys))
    throw duckdb::BinderException(call, "%s takes %s", kind.name, kind.takes);
  Arguments arguments;
  for (size_t i = 0; i < named; ++i)
    arguments[std::string("millrace_") + kind.arguments[i]] =
        checked(kind, kind.arguments[i], call.children[i + 1]);
  for (size_t i = named + 1; i < call.children.size(); ++i)
    arguments[fmt::format("millrace_key{}", i - named - 1)] = call.children[i]->Copy();
  if (auto step = arguments.find("millrace_step"); step != arguments.end()) {
    std::vector<ExpressionPtr> both;
    both.push_back(std::move(step->second));
    both.push_back(arguments["millrace_size"]->Copy());
    step->second = call_of(kCheckStep, std::move(both));
    step->second->SetQueryLocation(call.children[2]->GetQueryLocation());
  }
  return arguments;
}

std::string plain_sql(const WindowKind& kind, size_t keys, WindowsFor whom) {
  const std::string_view name = kind.name;
  if (name == "TUMBLE") return kTumble;
  if (name == "HOP") return kHop;
  if (name == "CUMULATE") return kCumulate;
  if (whom == WindowsFor::kQuery) return session_for_query(keys);
  std::string partition;
  for (size_t i = 0; i < keys; ++i)
    partition += fmt::format("{}millrace_key{}", i == 0 ? "PARTITION BY " : ", ", i);
  return session_for_view(partition);
}

duckdb::unique_ptr<duckdb::TableRef> expand(duckdb::TableFunctionRef& ref,
                                            duckdb::FunctionExpression& call,
                                            const WindowKind& kind, WindowsFor whom) {
  const auto arguments = arguments_of(kind, call);
  auto relation = relation_of(*call.children[0], kind.name);
  std::string alias = ref.alias;
  if (alias.empty() && relation->type == duckdb::TableReferenceType::BASE_TABLE) {
    alias = relation->Cast<duckdb::BaseTableRef>().table_name;
  }
  duckdb::Parser parser;
  parser.ParseQuery(plain_sql(kind, call.children.size() - 1 - kind.arguments.size(), whom));
  auto statement = duckdb::unique_ptr_cast<duckdb::SQLStatement, duckdb::SelectStatement>(
      std::move(parser.statements[0]));
  fill(*statement->node, arguments, call.GetQueryLocation(), std::move(relation));
  auto result = duckdb::make_uniq<duckdb::SubqueryRef>(std::move(statement), alias);
  result->column_name_alias = ref.column_name_alias;
  result->sample = std::move(ref.sample);
  result->query_location = ref.query_location;
  return result;
}

class WindowRewriter : public TreeRewriter {
 public:
  explicit WindowRewriter(WindowsFor whom) : whom_(whom) {}

 protected:
  void on_ref(RefPtr& ref) override {
    if (ref->type != duckdb::TableReferenceType::TABLE_FUNCTION) return;
    auto& function = ref->Cast<duckdb::TableFunctionRef>();
    if (function.function->GetExpressionClass() != duckdb::ExpressionClass::FUNCTION) return;
    auto& call = function.function->Cast<duckdb::FunctionExpression>();
    if (const auto* kind = kind_of(call.function_name)) ref = expand(function, call, *kind, whom_);
  }

 private:
  const WindowsFor whom_;
};

using BoundPtr = duckdb::unique_ptr<duckdb::Expression>;

/// The value of a constant argument; none: it is known when the query runs.
std::optional<duckdb::Value> constant_of(duckdb::ClientContext& context,
                                         const duckdb::Expression& argument) {
  if (argument.HasParameter()) throw duckdb::ParameterNotResolvedException();
  if (!argument.IsFoldable()) return std::nullopt;
  return duckdb::ExpressionExecutor::EvaluateScalar(context, argument);
}

/// Without the months, whose length differs.
int64_t fixed_us(const duckdb::interval_t& interval) {
  return duckdb::Interval::GetMicro({0, interval.days, interval.micros});
}

bool is_positive(const duckdb::interval_t& i) {
  return i.months >= 0 && i.days >= 0 && i.micros >= 0 && (i.months | i.days | i.micros) != 0;
}

BoundPtr check_time(duckdb::ClientContext& context, const std::string& function, BoundPtr time) {
  using Id = duckdb::LogicalTypeId;
  switch (time->return_type.id()) {
    case Id::TIMESTAMP:
    case Id::TIMESTAMP_TZ:
    case Id::UNKNOWN:  // a parameter
    case Id::SQLNULL:
      return time;
    case Id::DATE:
      if (function != "SESSION") return time;
      [[fallthrough]];
    case Id::TIMESTAMP_SEC:
    case Id::TIMESTAMP_MS:
    case Id::TIMESTAMP_NS:
      return duckdb::BoundCastExpression::AddCastToType(context, std::move(time),
                                                        duckdb::LogicalType::TIMESTAMP);
    default:
      throw duckdb::BinderException(
          *time, "the time of %s must be a TIMESTAMP, TIMESTAMPTZ or DATE, not %s", function,
          time->return_type.ToString());
  }
}

BoundPtr check_interval(duckdb::ClientContext& context, const std::string& function,
                        const std::string& what, BoundPtr interval) {
  using Id = duckdb::LogicalTypeId;
  const auto id = interval->return_type.id();
  if (id != Id::INTERVAL && id != Id::VARCHAR && id != Id::STRING_LITERAL && id != Id::UNKNOWN)
    throw duckdb::BinderException(
        *interval, "the %s of %s must be an interval, such as INTERVAL '10 minutes', not %s", what,
        function, interval->return_type.ToString());
  const auto location = interval->query_location;
  interval = duckdb::BoundCastExpression::AddCastToType(context, std::move(interval),
                                                        duckdb::LogicalType::INTERVAL);
  const auto value = constant_of(context, *interval);
  const bool gap = what == "gap";
  if (!value && gap)
    throw duckdb::BinderException(location, "the gap of SESSION must be a constant");
  if (!value) return interval;
  if (value->IsNull() || !is_positive(duckdb::IntervalValue::Get(*value)))
    throw duckdb::BinderException(location, "the %s of %s must be greater than zero, not %s", what,
                                  function, value->ToString());
  auto constant = duckdb::IntervalValue::Get(*value);
  if (gap) {
    // A day is 24 hours here, also where the clocks change: a session must not depend on it.
    if (constant.months != 0)
      throw duckdb::BinderException(
          location, "the gap of SESSION cannot have months, whose length differs: give days");
    constant = {0, 0, fixed_us(constant)};
  }
  auto bound =
      duckdb::make_uniq<duckdb::BoundConstantExpression>(duckdb::Value::INTERVAL(constant));
  bound->query_location = location;
  return bound;
}

BoundPtr check_argument(duckdb::FunctionBindExpressionInput& input) {
  const auto text = [&](size_t i) {
    return duckdb::ExpressionExecutor::EvaluateScalar(input.context, *input.children[i]).ToString();
  };
  const auto function = text(0), what = text(1);
  auto& argument = input.children[2];
  return what == "time" ? check_time(input.context, function, std::move(argument))
                        : check_interval(input.context, function, what, std::move(argument));
}

bool divides(const duckdb::interval_t& step, const duckdb::interval_t& size) {
  constexpr int64_t kDay = duckdb::Interval::MICROS_PER_DAY;
  if (size.months == 0) return step.months == 0 && fixed_us(size) % fixed_us(step) == 0;
  if (fixed_us(size) != 0) return false;
  if (step.months == 0) return kDay % fixed_us(step) == 0;  // a month is whole days
  return fixed_us(step) == 0 && size.months % step.months == 0;
}

BoundPtr check_step(duckdb::FunctionBindExpressionInput& input) {
  auto& step = input.children[0];
  const auto of_step = constant_of(input.context, *step);
  const auto of_size = constant_of(input.context, *input.children[1]);
  if (of_step && of_size &&
      !divides(duckdb::IntervalValue::Get(*of_step), duckdb::IntervalValue::Get(*of_size)))
    throw duckdb::BinderException(*step,
                                  "the step of CUMULATE must divide its size: %s is not a "
                                  "multiple of %s",
                                  of_size->ToString(), of_step->ToString());
  return std::move(step);
}

/// A function that its argument takes the place of when it is bound.
duckdb::ScalarFunction checking(const char* name, duckdb::vector<duckdb::LogicalType> arguments,
                                duckdb::LogicalType result,
                                duckdb::function_bind_expression_t check) {
  duckdb::ScalarFunction function(
      name, std::move(arguments), std::move(result),
      [](duckdb::DataChunk&, duckdb::ExpressionState&, duckdb::Vector&) {
        throw duckdb::InternalException("a check of arguments is not there to be run");
      });
  function.SetBindExpressionCallback(check);
  function.SetNullHandling(duckdb::FunctionNullHandling::SPECIAL_HANDLING);
  return function;
}

/// An aggregate that can be bound, as a window function of a standing query, and never runs.
duckdb::AggregateFunctionSet planned_only(std::string_view name) {
  using duckdb::AggregateInputData;
  using duckdb::Vector;
  duckdb::AggregateFunctionSet set{std::string(name)};
  for (const auto& time : {duckdb::LogicalType::TIMESTAMP, duckdb::LogicalType::TIMESTAMP_TZ})
    set.AddFunction(duckdb::AggregateFunction(
        std::string(name), {time, duckdb::LogicalType::INTERVAL}, time,
        [](const duckdb::AggregateFunction&) -> duckdb::idx_t { return 1; },
        [](const duckdb::AggregateFunction&, duckdb::data_ptr_t) {},
        [](Vector[], AggregateInputData&, duckdb::idx_t, Vector&, duckdb::idx_t) {
          throw duckdb::InternalException("SESSION of a standing query is not there to be run");
        },
        [](Vector&, Vector&, AggregateInputData&, duckdb::idx_t) {},
        [](Vector&, AggregateInputData&, Vector&, duckdb::idx_t, duckdb::idx_t) {},
        duckdb::FunctionNullHandling::DEFAULT_NULL_HANDLING));
  return set;
}

}  // namespace

void rewrite_windows(duckdb::SQLStatement& statement, WindowsFor whom) {
  WindowRewriter(whom).statement(statement);
}

void register_window_functions(duckdb::DuckDB& instance) {
  using duckdb::LogicalType;
  duckdb::ExtensionLoader loader(*instance.instance, "millrace_windows");
  loader.RegisterFunction(checking(kCheck,
                                   {LogicalType::VARCHAR, LogicalType::VARCHAR, LogicalType::ANY},
                                   LogicalType::ANY, check_argument));
  loader.RegisterFunction(checking(kCheckStep, {LogicalType::INTERVAL, LogicalType::INTERVAL},
                                   LogicalType::INTERVAL, check_step));
  loader.RegisterFunction(planned_only(kSessionStart));
  loader.RegisterFunction(planned_only(kSessionEnd));
}

}  // namespace millrace::sql

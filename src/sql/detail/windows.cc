#include "sql/detail/windows.h"

#include <duckdb/common/exception/binder_exception.hpp>
#include <duckdb/parser/expression/columnref_expression.hpp>
#include <duckdb/parser/expression/function_expression.hpp>
#include <duckdb/parser/expression/subquery_expression.hpp>
#include <duckdb/parser/parsed_expression_iterator.hpp>
#include <duckdb/parser/parser.hpp>
#include <duckdb/parser/query_node/list.hpp>
#include <duckdb/parser/statement/list.hpp>
#include <duckdb/parser/tableref/list.hpp>
#include <map>

#include "sql/detail/tree.h"

namespace millrace::sql {
namespace {

using ExpressionPtr = duckdb::unique_ptr<duckdb::ParsedExpression>;
using Arguments = std::map<std::string, const duckdb::ParsedExpression*>;

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

duckdb::SelectNode& fill(duckdb::QueryNode& node, const Arguments& arguments,
                         duckdb::optional_idx at) {
  auto& select = node.Cast<duckdb::SelectNode>();
  for (auto& expression : select.select_list) {
    const auto alias = expression->GetAlias();
    substitute(expression, arguments, at);
    expression->SetAlias(alias);
  }
  return select;
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

duckdb::unique_ptr<duckdb::TableRef> expand(duckdb::TableFunctionRef& ref,
                                            duckdb::FunctionExpression& call, bool hop) {
  const std::string name = hop ? "HOP" : "TUMBLE";
  const size_t expected = hop ? 4 : 3;
  if (call.children.size() != expected) {
    throw duckdb::BinderException(
        call, "%s takes %s", name,
        hop ? "a relation, a time, a slide and a size" : "a relation, a time and a size");
  }
  auto relation = relation_of(*call.children[0], name);
  std::string alias = ref.alias;
  if (alias.empty() && relation->type == duckdb::TableReferenceType::BASE_TABLE) {
    alias = relation->Cast<duckdb::BaseTableRef>().table_name;
  }
  Arguments arguments{{"millrace_time", call.children[1].get()},
                      {"millrace_size", call.children[expected - 1].get()}};
  if (hop) arguments["millrace_slide"] = call.children[2].get();

  duckdb::Parser parser;
  parser.ParseQuery(hop ? kHop : kTumble);
  auto statement = duckdb::unique_ptr_cast<duckdb::SQLStatement, duckdb::SelectStatement>(
      std::move(parser.statements[0]));
  const auto at = call.GetQueryLocation();
  auto* select = &fill(*statement->node, arguments, at);
  if (hop) {
    auto& inner = select->from_table->Cast<duckdb::SubqueryRef>();
    inner.query_location = at;
    select = &fill(*inner.subquery->node, arguments, at);
  }
  select->from_table = std::move(relation);
  auto result = duckdb::make_uniq<duckdb::SubqueryRef>(std::move(statement), alias);
  result->column_name_alias = ref.column_name_alias;
  result->sample = std::move(ref.sample);
  result->query_location = ref.query_location;
  return result;
}

class WindowRewriter : public TreeRewriter {
 protected:
  void on_ref(RefPtr& ref) override {
    if (ref->type != duckdb::TableReferenceType::TABLE_FUNCTION) return;
    auto& function = ref->Cast<duckdb::TableFunctionRef>();
    if (function.function->GetExpressionClass() != duckdb::ExpressionClass::FUNCTION) return;
    auto& call = function.function->Cast<duckdb::FunctionExpression>();
    const bool hop = duckdb::StringUtil::CIEquals(call.function_name, "hop");
    if (hop || duckdb::StringUtil::CIEquals(call.function_name, "tumble")) {
      ref = expand(function, call, hop);
    }
  }
};

}  // namespace

void rewrite_windows(duckdb::SQLStatement& statement) { WindowRewriter().statement(statement); }

}  // namespace millrace::sql

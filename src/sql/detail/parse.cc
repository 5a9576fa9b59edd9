#include "sql/detail/parse.h"

#include <duckdb/common/exception/parser_exception.hpp>
#include <duckdb/parser/expression/subquery_expression.hpp>
#include <duckdb/parser/parsed_expression_iterator.hpp>
#include <duckdb/parser/parser.hpp>
#include <duckdb/parser/query_node/list.hpp>
#include <duckdb/parser/tableref/basetableref.hpp>
#include <functional>

#include "sql/detail/windows.h"

namespace millrace::sql {
namespace {

/// Collects base tables of a query node, in FROM and in subqueries of expressions.
void collect(duckdb::QueryNode& node, std::set<std::string>& names) {
  std::function<void(duckdb::unique_ptr<duckdb::ParsedExpression>&)> on_expression =
      [&](duckdb::unique_ptr<duckdb::ParsedExpression>& expression) {
        if (expression->GetExpressionClass() == duckdb::ExpressionClass::SUBQUERY) {
          collect(*expression->Cast<duckdb::SubqueryExpression>().subquery->node, names);
        }
        duckdb::ParsedExpressionIterator::EnumerateChildren(*expression, on_expression);
      };
  const auto on_ref = [&](duckdb::TableRef& ref) {
    if (ref.type == duckdb::TableReferenceType::BASE_TABLE) {
      names.insert(ref.Cast<duckdb::BaseTableRef>().table_name);
    }
  };
  duckdb::ParsedExpressionIterator::EnumerateQueryNodeChildren(node, on_expression, on_ref);
}

}  // namespace

duckdb::unique_ptr<duckdb::SelectStatement> parse_select(const std::string& query) {
  duckdb::Parser parser;
  parser.ParseQuery(query);
  if (parser.statements.size() != 1 ||
      parser.statements[0]->type != duckdb::StatementType::SELECT_STATEMENT) {
    throw duckdb::ParserException("a view's query must be one SELECT");
  }
  auto select = duckdb::unique_ptr_cast<duckdb::SQLStatement, duckdb::SelectStatement>(
      std::move(parser.statements[0]));
  rewrite_windows(*select);
  return select;
}

std::set<std::string> table_names(duckdb::SelectStatement& statement) {
  std::set<std::string> names;
  collect(*statement.node, names);
  return names;
}

}  // namespace millrace::sql

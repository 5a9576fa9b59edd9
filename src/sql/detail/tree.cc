#include "sql/detail/tree.h"

#include <duckdb/parser/expression/subquery_expression.hpp>
#include <duckdb/parser/parsed_expression_iterator.hpp>
#include <duckdb/parser/query_node/list.hpp>
#include <duckdb/parser/statement/list.hpp>
#include <duckdb/parser/tableref/list.hpp>

namespace millrace::sql {

void TreeRewriter::ref(RefPtr& at) {
  if (!at) return;
  switch (at->type) {
    case duckdb::TableReferenceType::JOIN: {
      auto& join = at->Cast<duckdb::JoinRef>();
      ref(join.left);
      ref(join.right);
      if (join.condition) expression(join.condition);
      break;
    }
    case duckdb::TableReferenceType::SUBQUERY:
      node(*at->Cast<duckdb::SubqueryRef>().subquery->node);
      break;
    case duckdb::TableReferenceType::PIVOT:
      ref(at->Cast<duckdb::PivotRef>().source);
      for (auto& aggregate : at->Cast<duckdb::PivotRef>().aggregates) expression(aggregate);
      break;
    case duckdb::TableReferenceType::EXPRESSION_LIST:
      for (auto& row : at->Cast<duckdb::ExpressionListRef>().values) {
        for (auto& value : row) expression(value);
      }
      break;
    case duckdb::TableReferenceType::TABLE_FUNCTION: {
      auto& function = at->Cast<duckdb::TableFunctionRef>();
      expression(function.function);
      if (function.subquery) node(*function.subquery->node);
      break;
    }
    default:
      break;
  }
  on_ref(at);
}

void TreeRewriter::expression(ExpressionPtr& at) {
  if (at->GetExpressionClass() == duckdb::ExpressionClass::SUBQUERY) {
    node(*at->Cast<duckdb::SubqueryExpression>().subquery->node);
  }
  const std::function<void(ExpressionPtr&)> each = [this](ExpressionPtr& child) {
    expression(child);
  };
  duckdb::ParsedExpressionIterator::EnumerateChildren(*at, each);
  on_expression(at);
}

void TreeRewriter::select(duckdb::QueryNode& at) {
  auto& select = at.Cast<duckdb::SelectNode>();
  ref(select.from_table);
  for (auto& item : select.select_list) {
    const auto alias = item->GetAlias();
    expression(item);
    if (!alias.empty()) item->SetAlias(alias);
  }
  for (auto& group : select.groups.group_expressions) expression(group);
  if (select.where_clause) expression(select.where_clause);
  if (select.having) expression(select.having);
  if (select.qualify) expression(select.qualify);
}

void TreeRewriter::node(duckdb::QueryNode& at) {
  for (auto& [name, cte] : at.cte_map.map) node(*cte->query->node);
  switch (at.type) {
    case duckdb::QueryNodeType::SELECT_NODE:
      select(at);
      break;
    case duckdb::QueryNodeType::SET_OPERATION_NODE:
      for (auto& child : at.Cast<duckdb::SetOperationNode>().children) node(*child);
      break;
    case duckdb::QueryNodeType::RECURSIVE_CTE_NODE:
      node(*at.Cast<duckdb::RecursiveCTENode>().left);
      node(*at.Cast<duckdb::RecursiveCTENode>().right);
      break;
    default:
      break;
  }
  duckdb::ParsedExpressionIterator::EnumerateQueryNodeModifiers(
      at, [this](ExpressionPtr& child) { expression(child); });
}

void TreeRewriter::statement(duckdb::SQLStatement& at) {
  switch (at.type) {
    case duckdb::StatementType::SELECT_STATEMENT:
      return node(*at.Cast<duckdb::SelectStatement>().node);
    case duckdb::StatementType::INSERT_STATEMENT: {
      auto& insert = at.Cast<duckdb::InsertStatement>();
      for (auto& [name, cte] : insert.cte_map.map) node(*cte->query->node);
      if (insert.select_statement) node(*insert.select_statement->node);
      return;
    }
    case duckdb::StatementType::EXPLAIN_STATEMENT:
      return statement(*at.Cast<duckdb::ExplainStatement>().stmt);
    case duckdb::StatementType::COPY_STATEMENT: {
      auto& copy = *at.Cast<duckdb::CopyStatement>().info;
      if (copy.select_statement) node(*copy.select_statement);
      return;
    }
    case duckdb::StatementType::UPDATE_STATEMENT: {
      auto& update = at.Cast<duckdb::UpdateStatement>();
      for (auto& [name, cte] : update.cte_map.map) node(*cte->query->node);
      ref(update.from_table);
      for (auto& value : update.set_info->expressions) expression(value);
      if (update.set_info->condition) expression(update.set_info->condition);
      return;
    }
    case duckdb::StatementType::DELETE_STATEMENT: {
      auto& remove = at.Cast<duckdb::DeleteStatement>();
      for (auto& [name, cte] : remove.cte_map.map) node(*cte->query->node);
      for (auto& from : remove.using_clauses) ref(from);
      if (remove.condition) expression(remove.condition);
      return;
    }
    default:
      return;
  }
}

}  // namespace millrace::sql

#pragma once

#include <duckdb.hpp>
#include <duckdb/parser/parsed_expression.hpp>
#include <duckdb/parser/query_node.hpp>
#include <duckdb/parser/sql_statement.hpp>
#include <duckdb/parser/tableref.hpp>

namespace millrace::sql {

/// Walks a parse tree, children before parents, and lets a subclass replace what it meets.
class TreeRewriter {
 public:
  virtual ~TreeRewriter() = default;
  void statement(duckdb::SQLStatement& statement);
  void node(duckdb::QueryNode& node);

 protected:
  using ExpressionPtr = duckdb::unique_ptr<duckdb::ParsedExpression>;
  using RefPtr = duckdb::unique_ptr<duckdb::TableRef>;
  virtual void on_expression(ExpressionPtr&) {}
  virtual void on_ref(RefPtr&) {}

 private:
  void expression(ExpressionPtr& expression);
  void ref(RefPtr& ref);
  void select(duckdb::QueryNode& node);
};

}  // namespace millrace::sql

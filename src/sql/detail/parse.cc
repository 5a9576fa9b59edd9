#include "sql/detail/parse.h"

#include <duckdb/common/exception/parser_exception.hpp>
#include <duckdb/parser/expression/function_expression.hpp>
#include <duckdb/parser/parser.hpp>
#include <duckdb/parser/tableref/basetableref.hpp>

#include "sql/detail/errors.h"
#include "sql/detail/system_tables.h"
#include "sql/detail/system_time.h"
#include "sql/detail/tree.h"

namespace millrace::sql {
namespace {

class TableNames : public TreeRewriter {
 public:
  std::set<std::string> names;

 protected:
  void on_ref(RefPtr& ref) override {
    if (ref->type == duckdb::TableReferenceType::BASE_TABLE) {
      names.insert(ref->Cast<duckdb::BaseTableRef>().table_name);
    }
  }
};

class FunctionNames : public TreeRewriter {
 public:
  std::set<std::string> names;

 protected:
  void on_expression(ExpressionPtr& at) override {
    if (at->GetExpressionClass() != duckdb::ExpressionClass::FUNCTION) return;
    names.insert(at->Cast<duckdb::FunctionExpression>().function_name);
  }
};

class ParameterRefuser : public TreeRewriter {
 protected:
  void on_expression(ExpressionPtr& at) override {
    if (at->GetExpressionClass() != duckdb::ExpressionClass::PARAMETER) return;
    // DuckDB does not say where it stands.
    throw CarriedError(Error{ErrorCode::kNotSupported, "a view's query cannot have parameters",
                             std::nullopt,
                             "Write the value, or ask the view with WHERE and a parameter."});
  }
};

}  // namespace

duckdb::unique_ptr<duckdb::SelectStatement> parse_select(const std::string& query,
                                                         WindowsFor whom) {
  auto carried = carry_system_time(query);
  if (!carried) throw CarriedError(carried.error());
  duckdb::Parser parser;
  parser.ParseQuery(*carried);
  if (parser.statements.size() != 1 ||
      parser.statements[0]->type != duckdb::StatementType::SELECT_STATEMENT) {
    throw duckdb::ParserException("a view's query must be one SELECT");
  }
  auto select = duckdb::unique_ptr_cast<duckdb::SQLStatement, duckdb::SelectStatement>(
      std::move(parser.statements[0]));
  rewrite_windows(*select, whom);
  rewrite_system_time(*select);
  rewrite_system_tables(*select);
  return select;
}

void refuse_parameters(duckdb::SelectStatement& statement) {
  ParameterRefuser().statement(statement);
}

std::set<std::string> table_names(duckdb::SelectStatement& statement) {
  TableNames found;
  found.statement(statement);
  return std::move(found.names);
}

std::set<std::string> function_names(duckdb::SelectStatement& statement) {
  FunctionNames found;
  found.statement(statement);
  return std::move(found.names);
}

}  // namespace millrace::sql

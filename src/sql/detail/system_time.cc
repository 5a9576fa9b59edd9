#include "sql/detail/system_time.h"

#include <fmt/format.h>

#include <duckdb/common/exception/binder_exception.hpp>
#include <duckdb/function/scalar_function.hpp>
#include <duckdb/main/extension/extension_loader.hpp>
#include <duckdb/parser/expression/columnref_expression.hpp>
#include <duckdb/parser/expression/comparison_expression.hpp>
#include <duckdb/parser/expression/conjunction_expression.hpp>
#include <duckdb/parser/expression/constant_expression.hpp>
#include <duckdb/parser/expression/function_expression.hpp>
#include <duckdb/parser/tableref/list.hpp>

#include "sql/detail/errors.h"
#include "sql/detail/token_reader.h"
#include "sql/detail/tree.h"

namespace millrace::sql {
namespace {

using ExpressionPtr = duckdb::unique_ptr<duckdb::ParsedExpression>;

constexpr const char* kAsOf = "millrace_as_of";
constexpr const char* kVersions = "millrace_versions";
constexpr const char* kExample =
    "Write: stream s JOIN table t FOR SYSTEM_TIME AS OF s.time ON s.key = t.key";

/// Reads what follows `FOR SYSTEM_TIME AS OF` up to ON, and gives the same in our words.
Result<std::string> read_clause(const std::string& sql, TokenReader& reader) {
  const auto text = [&](size_t from, size_t until) { return sql.substr(from, until - from); };
  const size_t begin = reader.peek().begin;
  size_t end = begin;
  int depth = 0;
  const auto ends = [&] {
    return reader.peek().is("as") || reader.peek().is("on") || reader.peek().is("using");
  };
  while (!reader.at_end() && (depth > 0 || !ends())) {
    if (reader.peek().is_symbol('(')) ++depth;
    if (reader.peek().is_symbol(')') && --depth < 0) break;
    end = reader.take().end;
  }
  if (end == begin) return reader.unexpected(kExample);
  std::string alias;
  if (reader.peek().is("as")) {
    const size_t from = reader.take().begin;
    if (!reader.peek().is_name()) return reader.unexpected("expected an alias");
    alias = text(from, reader.take().end) + " ";
  }
  if (!reader.take_word("on")) return reader.unexpected(kExample);
  return fmt::format("{}ON {}({}) AND", alias, kAsOf, text(begin, end));
}

bool is_call(const duckdb::ParsedExpression& e, const char* name) {
  return e.GetExpressionClass() == duckdb::ExpressionClass::FUNCTION &&
         e.Cast<duckdb::FunctionExpression>().function_name == name;
}

/// Takes the call out of a chain of ANDs; null: it is not there.
ExpressionPtr take_as_of(ExpressionPtr& condition) {
  if (condition->GetExpressionType() != duckdb::ExpressionType::CONJUNCTION_AND) return nullptr;
  auto& children = condition->Cast<duckdb::ConjunctionExpression>().children;
  for (auto at = children.begin(); at != children.end(); ++at) {
    ExpressionPtr found;
    if (is_call(**at, kAsOf)) {
      found = std::move((*at)->Cast<duckdb::FunctionExpression>().children.at(0));
      children.erase(at);
    } else {
      found = take_as_of(*at);
    }
    if (!found) continue;
    if (children.size() == 1) {
      auto last = std::move(children[0]);
      condition = std::move(last);
    }
    return found;
  }
  return nullptr;
}

class SystemTimeRewriter : public TreeRewriter {
 protected:
  void on_ref(RefPtr& ref) override {
    if (ref->type != duckdb::TableReferenceType::JOIN) return;
    auto& join = ref->Cast<duckdb::JoinRef>();
    if (!join.condition) return;
    auto time = take_as_of(join.condition);
    if (!time) return;
    if (join.right->type != duckdb::TableReferenceType::BASE_TABLE ||
        (join.type != duckdb::JoinType::INNER && join.type != duckdb::JoinType::LEFT))
      throw duckdb::BinderException(
          *time, "FOR SYSTEM_TIME AS OF stands behind a table on the right of a JOIN or LEFT JOIN");
    auto& table = join.right->Cast<duckdb::BaseTableRef>();
    table.at_clause = duckdb::make_uniq<duckdb::AtClause>(
        kVersions, duckdb::make_uniq<duckdb::ConstantExpression>(duckdb::Value::BOOLEAN(true)));
    duckdb::vector<ExpressionPtr> changed;
    changed.push_back(duckdb::make_uniq<duckdb::ColumnRefExpression>(
        "_timestamp", table.alias.empty() ? table.table_name : table.alias));
    auto comparison = duckdb::make_uniq<duckdb::ComparisonExpression>(
        duckdb::ExpressionType::COMPARE_GREATERTHANOREQUALTO, std::move(time),
        duckdb::make_uniq<duckdb::FunctionExpression>(std::string(kSystemTime),
                                                      std::move(changed)));
    join.condition = duckdb::make_uniq<duckdb::ConjunctionExpression>(
        duckdb::ExpressionType::CONJUNCTION_AND, std::move(join.condition), std::move(comparison));
    join.ref_type = duckdb::JoinRefType::ASOF;
  }
};

/// What the rewriter has left stands where it means nothing.
class LeftOver : public TreeRewriter {
 protected:
  void on_ref(RefPtr& ref) override {
    if (ref->type != duckdb::TableReferenceType::JOIN) return;
    const auto& condition = ref->Cast<duckdb::JoinRef>().condition;
    if (condition) refuse(*condition);
  }

 private:
  static void refuse(const duckdb::ParsedExpression& e) {
    if (is_call(e, kAsOf))
      throw duckdb::BinderException(
          e, "FOR SYSTEM_TIME AS OF with an OR in its condition: put the condition in parentheses");
    if (e.GetExpressionClass() == duckdb::ExpressionClass::CONJUNCTION)
      for (const auto& child : e.Cast<duckdb::ConjunctionExpression>().children) refuse(*child);
  }
};

void fail(duckdb::DataChunk&, duckdb::ExpressionState&, duckdb::Vector&) {
  throw duckdb::InternalException("FOR SYSTEM_TIME AS OF is evaluated");
}

}  // namespace

Result<std::string> carry_system_time(std::string sql) {
  if (!duckdb::StringUtil::Contains(duckdb::StringUtil::Lower(sql), "system_time")) return sql;
  MR_TRY(const auto tokens, tokenize(sql));
  std::string out = sql;  // as long as `sql` at all times
  TokenReader reader(tokens);
  while (!reader.at_end()) {
    const size_t begin = reader.peek().begin;
    if (!reader.take_words({"for", "system_time", "as", "of"})) {
      reader.take();
      continue;
    }
    // The words before the next token end the clause.
    MR_TRY(auto clause, read_clause(sql, reader));
    const size_t length = reader.peek().begin - begin;
    clause.insert(0, length > clause.size() + 1 ? length - clause.size() - 1 : 0, ' ');
    out.replace(begin, length, clause + " ");
  }
  return out;
}

void rewrite_system_time(duckdb::SQLStatement& statement) {
  SystemTimeRewriter().statement(statement);
  LeftOver().statement(statement);
}

void refuse_time_travel(const std::string& unit, bool planning) {
  if (unit != kVersions)
    throw duckdb::NotImplementedException("AT (%s => ...) is not supported", unit);
  if (planning) return;
  throw CarriedError(Error{ErrorCode::kNotSupported,
                           "FOR SYSTEM_TIME AS OF joins the rows of a stream as they come: only a "
                           "materialized view does that",
                           std::nullopt, "Create a materialized view of the query and read it."});
}

void register_system_time(duckdb::DuckDB& instance) {
  duckdb::ScalarFunction function(std::string(kSystemTime), {duckdb::LogicalType::TIMESTAMP_TZ},
                                  duckdb::LogicalType::TIMESTAMP, fail);
  duckdb::ExtensionLoader loader(*instance.instance, "millrace_system_time");
  loader.RegisterFunction(function);
}

}  // namespace millrace::sql

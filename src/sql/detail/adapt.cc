#include "sql/detail/adapt.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <duckdb/parser/expression/cast_expression.hpp>
#include <duckdb/parser/expression/columnref_expression.hpp>
#include <duckdb/parser/expression/constant_expression.hpp>
#include <duckdb/parser/expression/function_expression.hpp>
#include <duckdb/parser/expression/parameter_expression.hpp>
#include <duckdb/parser/statement/explain_statement.hpp>
#include <duckdb/parser/statement/insert_statement.hpp>
#include <duckdb/parser/statement/pragma_statement.hpp>
#include <duckdb/parser/statement/set_statement.hpp>
#include <duckdb/parser/statement/update_statement.hpp>
#include <duckdb/parser/tableref/table_function_ref.hpp>
#include <set>

#include "sql/detail/errors.h"
#include "sql/detail/storage.h"
#include "sql/detail/system_tables.h"
#include "sql/detail/system_time.h"
#include "sql/detail/tree.h"
#include "sql/windows.h"

namespace millrace::sql {
namespace {

using catalog::Kind;

class Adapter : public TreeRewriter {
 public:
  Adapter(const SessionFacts& facts, const std::vector<duckdb::LogicalType>& types)
      : facts_(facts), types_(types) {}

 protected:
  void on_expression(ExpressionPtr& at) override {
    if (at->GetExpressionClass() == duckdb::ExpressionClass::PARAMETER) return cast_parameter(at);
    if (at->GetExpressionClass() == duckdb::ExpressionClass::COLUMN_REF) return name_user(at);
    if (at->GetExpressionClass() != duckdb::ExpressionClass::FUNCTION) return;
    const auto& call = at->Cast<duckdb::FunctionExpression>();
    if (!call.children.empty()) return;
    const auto name = duckdb::StringUtil::Lower(call.function_name);
    if (name == "version") return replace(at, facts_.version, name);
    if (name == "current_user" || name == "session_user" || name == "user" ||
        name == "current_role") {
      replace(at, facts_.user, name);
    }
  }

 private:
  static void replace(ExpressionPtr& at, const std::string& text, const std::string& name) {
    const auto alias = at->GetAlias();
    const auto location = at->GetQueryLocation();
    at = duckdb::make_uniq<duckdb::ConstantExpression>(duckdb::Value(text));
    at->SetAlias(alias.empty() ? name : alias);
    at->SetQueryLocation(location);
  }

  /// PostgreSQL's reserved words, which DuckDB's parser takes for columns.
  void name_user(ExpressionPtr& at) const {
    const auto& ref = at->Cast<duckdb::ColumnRefExpression>();
    if (ref.IsQualified()) return;
    const auto name = duckdb::StringUtil::Lower(ref.GetColumnName());
    if (name == "current_user" || name == "session_user" || name == "current_role") {
      replace(at, facts_.user, name);
    }
  }

  void cast_parameter(ExpressionPtr& at) {
    const auto& identifier = at->Cast<duckdb::ParameterExpression>().identifier;
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (identifier.size() > 5 || !std::ranges::all_of(identifier, is_digit)) return;
    const auto index = std::stoul(identifier);
    if (index < 1 || index > types_.size()) return;
    const auto& type = types_[index - 1];
    using Id = duckdb::LogicalTypeId;
    if (type.id() == Id::UNKNOWN || type.id() == Id::INVALID || type.id() == Id::SQLNULL) return;
    const auto location = at->GetQueryLocation();
    at = duckdb::make_uniq<duckdb::CastExpression>(type, std::move(at));
    at->SetQueryLocation(location);
  }

  const SessionFacts& facts_;
  const std::vector<duckdb::LogicalType>& types_;
};

// What a session may set: each changes its own queries' meaning and nothing of the node.
constexpr std::string_view kSessionSettings[] = {
    "calendar",
    "default_collation",
    "default_null_order",
    "default_order",
    "explain_output",
    "ieee_floating_point_ops",
    "integer_division",
    "null_order",
    "order_by_non_integer_literal",
    "scalar_subquery_error_on_multiple_rows",
    "schema",
    "search_path",
    "timezone",
};

CarriedError not_for_sessions(std::string_view what) {
  return CarriedError(Error{ErrorCode::kNotSupported,
                            fmt::format("{} cannot be changed by a session", what), std::nullopt,
                            fmt::format("A session sets {}.", fmt::join(kSessionSettings, ", "))});
}

/// The engine is shared: what a session sets holds for the session, or is refused.
void keep_in_session(duckdb::SetStatement& set) {
  if (set.scope == duckdb::SetScope::VARIABLE) return;
  const auto name = duckdb::StringUtil::Lower(set.name);
  if (set.scope == duckdb::SetScope::GLOBAL ||
      std::ranges::find(kSessionSettings, name) == std::end(kSessionSettings)) {
    throw not_for_sessions(fmt::format("the setting \"{}\"", set.name));
  }
  set.scope = duckdb::SetScope::SESSION;
}

/// Refuses what reaches outside or changes the node for others.
void keep_inside(duckdb::SQLStatement& statement) {
  using Type = duckdb::StatementType;
  switch (statement.type) {
    case Type::ATTACH_STATEMENT:
    case Type::DETACH_STATEMENT:
    case Type::LOAD_STATEMENT:
    case Type::EXPORT_STATEMENT:
    case Type::COPY_DATABASE_STATEMENT:
    case Type::EXTENSION_STATEMENT:
    case Type::UPDATE_EXTENSIONS_STATEMENT:
      throw duckdb::NotImplementedException("%s statements are not supported",
                                            duckdb::StatementTypeToString(statement.type));
    case Type::SET_STATEMENT:
      return keep_in_session(statement.Cast<duckdb::SetStatement>());
    case Type::PRAGMA_STATEMENT:
      // Those that only show something have become queries by now.
      throw not_for_sessions(
          fmt::format("PRAGMA {}", statement.Cast<duckdb::PragmaStatement>().info->name));
    case Type::EXPLAIN_STATEMENT:
      return keep_inside(*statement.Cast<duckdb::ExplainStatement>().stmt);
    default:
      return;
  }
}

bool same_names(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  const auto lower = [](const std::vector<std::string>& names) {
    std::set<std::string> result;
    for (const auto& name : names) result.insert(duckdb::StringUtil::Lower(name));
    return result;
  };
  return lower(a) == lower(b);
}

bool has_name(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::any_of(
      names, [&](const std::string& n) { return duckdb::StringUtil::CIEquals(n, name); });
}

Error not_an_upsert(const catalog::Object& table, const std::string& what) {
  std::vector<std::string> set;
  for (const auto& column : table.columns) {
    if (has_name(table.primary_key, column.name)) continue;
    set.push_back(fmt::format("{0} = excluded.{0}", column.name));
  }
  return Error{
      ErrorCode::kNotSupported, what, std::nullopt,
      fmt::format("An upsert replaces the whole row: give every column, and write ON CONFLICT ({}) "
                  "DO UPDATE SET {}; or INSERT OR REPLACE.",
                  fmt::join(table.primary_key, ", "), fmt::join(set, ", "))};
}

/// DO UPDATE SET is an upsert when it sets every column that is not of the key to excluded's.
Result<> check_set(const duckdb::UpdateSetInfo& set, const catalog::Object& table) {
  if (set.condition) {
    return not_an_upsert(table, "DO UPDATE ... WHERE is not supported");
  }
  std::set<std::string> names;
  for (size_t i = 0; i < set.columns.size(); ++i) {
    const auto& value = *set.expressions[i];
    const bool excluded =
        value.GetExpressionClass() == duckdb::ExpressionClass::COLUMN_REF &&
        value.Cast<duckdb::ColumnRefExpression>().column_names.size() == 2 &&
        duckdb::StringUtil::CIEquals(value.Cast<duckdb::ColumnRefExpression>().column_names[0],
                                     "excluded") &&
        duckdb::StringUtil::CIEquals(value.Cast<duckdb::ColumnRefExpression>().column_names[1],
                                     set.columns[i]);
    if (!excluded) {
      return not_an_upsert(table, fmt::format("DO UPDATE SET {} = {} is not supported",
                                              set.columns[i], value.ToString()));
    }
    names.insert(duckdb::StringUtil::Lower(set.columns[i]));
  }
  for (const auto& column : table.columns) {
    if (has_name(table.primary_key, column.name)) continue;
    if (!names.contains(duckdb::StringUtil::Lower(column.name))) {
      return not_an_upsert(table, fmt::format("DO UPDATE does not set column \"{}\"", column.name));
    }
  }
  return {};
}

Result<Change::Kind> kind_of(duckdb::InsertStatement& insert, const catalog::Object& table) {
  const auto& conflict = *insert.on_conflict_info;
  if (table.kind != Kind::kTable) {
    return Error{
        ErrorCode::kNotSupported,
        fmt::format("\"{}\" has no primary key that a row could conflict with", table.name)};
  }
  if (!conflict.indexed_columns.empty() &&
      !same_names(conflict.indexed_columns, table.primary_key)) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("ON CONFLICT ({}) is not the primary key of \"{}\"",
                             fmt::join(conflict.indexed_columns, ", "), table.name),
                 std::nullopt, fmt::format("It is ({}).", fmt::join(table.primary_key, ", "))};
  }
  if (conflict.condition) {
    return Error{ErrorCode::kNotSupported, "ON CONFLICT (...) WHERE is not supported"};
  }
  if (conflict.action_type == duckdb::OnConflictAction::NOTHING) {
    return Change::Kind::kInsertOrIgnore;
  }
  if (conflict.action_type == duckdb::OnConflictAction::UPDATE) {
    MR_TRY(check_set(*conflict.set_info, table));
  }
  if (!insert.columns.empty() && insert.columns.size() != table.columns.size()) {
    return not_an_upsert(table, "an upsert that leaves columns out is not supported");
  }
  return Change::Kind::kUpsert;
}

}  // namespace

void adapt(duckdb::SQLStatement& statement, const SessionFacts& facts,
           const std::vector<duckdb::LogicalType>& parameter_types) {
  keep_inside(statement);
  rewrite_windows(statement, WindowsFor::kQuery);
  rewrite_system_time(statement);
  rewrite_system_tables(statement);
  Adapter(facts, parameter_types).statement(statement);
}

Result<Change::Kind> take_conflict_clause(duckdb::SQLStatement& statement,
                                          const catalog::Snapshot& snapshot) {
  if (statement.type == duckdb::StatementType::EXPLAIN_STATEMENT) {
    return take_conflict_clause(*statement.Cast<duckdb::ExplainStatement>().stmt, snapshot);
  }
  if (statement.type != duckdb::StatementType::INSERT_STATEMENT) return Change::Kind::kInsert;
  auto& insert = statement.Cast<duckdb::InsertStatement>();
  const auto* object = snapshot.find(insert.table);
  if (!object) return Change::Kind::kInsert;
  const auto hidden = [](const std::string& name) { return name.starts_with('_'); };
  if (object->kind == Kind::kTopic && std::ranges::any_of(insert.columns, hidden)) {
    insert.table = full_form(object->name);
  }
  if (!insert.on_conflict_info) return Change::Kind::kInsert;
  MR_TRY(auto kind, kind_of(insert, *object));
  insert.on_conflict_info.reset();
  return kind;
}

}  // namespace millrace::sql

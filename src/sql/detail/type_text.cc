#include <duckdb/parser/expression/constant_expression.hpp>
#include <duckdb/parser/expression/type_expression.hpp>
#include <duckdb/parser/parser.hpp>

#include <fmt/format.h>

#include "sql/format.h"

// DuckDB binds a type with a client's context, which we have not where a catalog object is read;
// its binding without one knows neither JSON (an extension's) nor ENUM's values. So we bind those
// and what nests, and leave the rest to it.

namespace millrace::sql {
namespace {

using duckdb::LogicalType;
using duckdb::ParsedExpression;
using duckdb::TypeExpression;

bool is(const TypeExpression& type, const char* name) {
  return duckdb::StringUtil::CIEquals(type.GetTypeName(), name);
}

Error refuse(std::string why) { return Error{ErrorCode::kTypeMismatch, std::move(why)}; }

Result<duckdb::Value> constant(const ParsedExpression& expression) {
  if (expression.GetExpressionClass() != duckdb::ExpressionClass::CONSTANT)
    return refuse(fmt::format("expected a constant, found {}", expression.ToString()));
  return expression.Cast<duckdb::ConstantExpression>().value;
}

Result<LogicalType> bind(const ParsedExpression& expression);

Result<LogicalType> bind_enum(const TypeExpression& type) {
  const auto& children = type.GetChildren();
  duckdb::Vector values(LogicalType::VARCHAR, std::max<size_t>(children.size(), 1));
  for (size_t i = 0; i < children.size(); ++i) {
    MR_TRY(const duckdb::Value value, constant(*children[i]));
    for (size_t j = 0; j < i; ++j)
      if (values.GetValue(j) == value)
        return refuse(fmt::format("ENUM value {} stands twice", value.ToString()));
    values.SetValue(i, value.DefaultCastAs(LogicalType::VARCHAR));
  }
  return LogicalType::ENUM(values, children.size());
}

Result<LogicalType> bind_fields(const TypeExpression& type) {
  duckdb::child_list_t<LogicalType> fields;
  for (const auto& child : type.GetChildren()) {
    MR_TRY(LogicalType field, bind(*child));
    fields.emplace_back(child->GetAlias(), std::move(field));
  }
  return is(type, "struct") ? LogicalType::STRUCT(std::move(fields))
                            : LogicalType::UNION(std::move(fields));
}

/// DuckDB's exceptions pass through.
Result<LogicalType> bind(const ParsedExpression& expression) {
  if (expression.GetExpressionClass() != duckdb::ExpressionClass::TYPE)
    return refuse(fmt::format("expected a type, found {}", expression.ToString()));
  const auto& type = expression.Cast<TypeExpression>();
  const auto& children = type.GetChildren();
  if (is(type, "enum")) return bind_enum(type);
  if (is(type, "json") && children.empty()) return LogicalType::JSON();
  if (is(type, "list") && children.size() == 1) {
    MR_TRY(const LogicalType element, bind(*children[0]));
    return LogicalType::LIST(element);
  }
  if (is(type, "map") && children.size() == 2) {
    MR_TRY(LogicalType key, bind(*children[0]));
    MR_TRY(LogicalType value, bind(*children[1]));
    return LogicalType::MAP(std::move(key), std::move(value));
  }
  if (is(type, "array") && children.size() == 2) {
    MR_TRY(const LogicalType element, bind(*children[0]));
    MR_TRY(const duckdb::Value length, constant(*children[1]));
    return LogicalType::ARRAY(element, length.GetValue<uint32_t>());
  }
  if ((is(type, "struct") || is(type, "union")) && !children.empty()) return bind_fields(type);
  LogicalType bound = duckdb::UnboundType::TryDefaultBind(LogicalType::UNBOUND(type.Copy()));
  if (bound.IsUnbound()) return refuse("no type has this name");
  return bound;
}

}  // namespace

Result<LogicalType> parse_type(const std::string& sql) {
  const auto no_type = [&](const std::string& why) {
    return Error{ErrorCode::kTypeMismatch, fmt::format("{} is not a type: {}", sql, why)};
  };
  try {
    // As the one column of a list, because what parses a type alone knows no ENUM('a', 'b').
    const auto columns = duckdb::Parser::ParseColumnList("c " + sql);
    if (columns.LogicalColumnCount() != 1) return no_type("expected one type");
    const LogicalType type = columns.GetColumn(duckdb::LogicalIndex(0)).Type();
    if (!type.IsUnbound()) return type;
    auto bound = bind(*duckdb::UnboundType::GetTypeExpression(type));
    if (!bound) return no_type(bound.error().text);
    return bound;
  } catch (const std::exception& e) {
    return no_type(duckdb::ErrorData(e).RawMessage());
  }
}

}  // namespace millrace::sql

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

const duckdb::Value& constant(const ParsedExpression& expression) {
  if (expression.GetExpressionClass() != duckdb::ExpressionClass::CONSTANT)
    throw duckdb::InvalidInputException("expected a constant, found %s", expression.ToString());
  return expression.Cast<duckdb::ConstantExpression>().value;
}

LogicalType bind(const ParsedExpression& expression);

LogicalType bind_enum(const TypeExpression& type) {
  const auto& children = type.GetChildren();
  duckdb::Vector values(LogicalType::VARCHAR, std::max<size_t>(children.size(), 1));
  for (size_t i = 0; i < children.size(); ++i) {
    const auto& value = constant(*children[i]);
    for (size_t j = 0; j < i; ++j)
      if (values.GetValue(j) == value)
        throw duckdb::InvalidInputException("ENUM value %s stands twice", value.ToString());
    values.SetValue(i, value.DefaultCastAs(LogicalType::VARCHAR));
  }
  return LogicalType::ENUM(values, children.size());
}

/// Throws DuckDB's exceptions.
LogicalType bind(const ParsedExpression& expression) {
  if (expression.GetExpressionClass() != duckdb::ExpressionClass::TYPE)
    throw duckdb::InvalidInputException("expected a type, found %s", expression.ToString());
  const auto& type = expression.Cast<TypeExpression>();
  const auto& children = type.GetChildren();
  if (is(type, "enum")) return bind_enum(type);
  if (is(type, "json") && children.empty()) return LogicalType::JSON();
  if (is(type, "list") && children.size() == 1) return LogicalType::LIST(bind(*children[0]));
  if (is(type, "map") && children.size() == 2)
    return LogicalType::MAP(bind(*children[0]), bind(*children[1]));
  if (is(type, "array") && children.size() == 2)
    return LogicalType::ARRAY(bind(*children[0]), constant(*children[1]).GetValue<uint32_t>());
  if ((is(type, "struct") || is(type, "union")) && !children.empty()) {
    duckdb::child_list_t<LogicalType> fields;
    for (const auto& child : children) fields.emplace_back(child->GetAlias(), bind(*child));
    return is(type, "struct") ? LogicalType::STRUCT(std::move(fields))
                              : LogicalType::UNION(std::move(fields));
  }
  LogicalType bound = duckdb::UnboundType::TryDefaultBind(LogicalType::UNBOUND(type.Copy()));
  if (bound.IsUnbound()) throw duckdb::InvalidInputException("no type has this name");
  return bound;
}

}  // namespace

Result<LogicalType> parse_type(const std::string& sql) {
  const auto refuse = [&](const std::string& why) {
    return Error{ErrorCode::kTypeMismatch, fmt::format("{} is not a type{}", sql, why)};
  };
  try {
    // As the one column of a list, because what parses a type alone knows no ENUM('a', 'b').
    const auto columns = duckdb::Parser::ParseColumnList("c " + sql);
    if (columns.LogicalColumnCount() != 1) return refuse("");
    const LogicalType type = columns.GetColumn(duckdb::LogicalIndex(0)).Type();
    if (!type.IsUnbound()) return type;
    return bind(*duckdb::UnboundType::GetTypeExpression(type));
  } catch (const std::exception& e) {
    return refuse(": " + duckdb::ErrorData(e).RawMessage());
  }
}

}  // namespace millrace::sql

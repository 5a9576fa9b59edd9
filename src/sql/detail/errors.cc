#include "sql/detail/errors.h"

#include <fmt/format.h>

#include <charconv>

namespace millrace::sql {
namespace {

constexpr const char* kCodeKey = "millrace_code";
constexpr const char* kHintKey = "millrace_hint";
constexpr const char* kPositionKey = "position";

std::unordered_map<std::string, std::string> extra_info(const Error& error) {
  std::unordered_map<std::string, std::string> info;
  info[kCodeKey] = std::to_string(static_cast<int>(error.code));
  if (!error.hint.empty()) info[kHintKey] = error.hint;
  if (error.position) info[kPositionKey] = std::to_string(*error.position);
  return info;
}

duckdb::unordered_map<std::string, std::string> to_duckdb(
    std::unordered_map<std::string, std::string> info) {
  duckdb::unordered_map<std::string, std::string> result;
  for (auto& [key, value] : info) result.emplace(key, std::move(value));
  return result;
}

std::optional<size_t> to_number(const duckdb::ErrorData& data, const char* key) {
  const auto found = data.ExtraInfo().find(key);
  if (found == data.ExtraInfo().end()) return std::nullopt;
  size_t value = 0;
  const auto& text = found->second;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc()) return std::nullopt;
  return value;
}

bool has_subtype(const duckdb::ErrorData& data, const char* subtype) {
  const auto found = data.ExtraInfo().find("error_subtype");
  return found != data.ExtraInfo().end() && found->second == subtype;
}

ErrorCode code_of_binder(const duckdb::ErrorData& data) {
  if (has_subtype(data, "COLUMN_NOT_FOUND")) return ErrorCode::kUndefinedColumn;
  if (has_subtype(data, "NO_MATCHING_FUNCTION")) return ErrorCode::kUndefinedFunction;
  const auto& text = data.RawMessage();
  const auto says = [&](const char* part) { return text.find(part) != std::string::npos; };
  if (says("Referenced table") || says("not found in FROM clause") ||
      says("does not have a column")) {
    return ErrorCode::kUndefinedColumn;
  }
  if (says("No function matches")) return ErrorCode::kUndefinedFunction;
  if (says("Cannot mix values") || says("Cannot compare") || says("cannot cast") ||
      says("Cannot cast")) {
    return ErrorCode::kTypeMismatch;
  }
  return ErrorCode::kSyntax;
}

ErrorCode code_of_catalog(const duckdb::ErrorData& data) {
  const auto& text = data.RawMessage();
  if (text.find("already exists") != std::string::npos) return ErrorCode::kDuplicateObject;
  for (const char* function : {"Function with name", "Macro", "Aggregate"}) {
    if (text.find(function) != std::string::npos) return ErrorCode::kUndefinedFunction;
  }
  if (text.find("unrecognized configuration") != std::string::npos) {
    return ErrorCode::kInvalidArgument;
  }
  return ErrorCode::kUndefinedObject;
}

ErrorCode code_of_constraint(const duckdb::ErrorData& data) {
  const auto& text = data.RawMessage();
  if (text.find("NOT NULL") != std::string::npos) return ErrorCode::kNotNullViolation;
  return ErrorCode::kUniqueViolation;
}

ErrorCode code_of(const duckdb::ErrorData& data) {
  using Type = duckdb::ExceptionType;
  switch (data.Type()) {
    case Type::PARSER:
    case Type::SYNTAX:
      return ErrorCode::kSyntax;
    case Type::CATALOG:
      return code_of_catalog(data);
    case Type::BINDER:
      return code_of_binder(data);
    case Type::CONVERSION:
      return ErrorCode::kInvalidText;
    case Type::OUT_OF_RANGE:
    case Type::DECIMAL:
      return ErrorCode::kNumericOutOfRange;
    case Type::DIVIDE_BY_ZERO:
      return ErrorCode::kDivisionByZero;
    case Type::MISMATCH_TYPE:
    case Type::INVALID_TYPE:
    case Type::UNKNOWN_TYPE:
    case Type::PARAMETER_NOT_RESOLVED:
      return ErrorCode::kTypeMismatch;
    case Type::CONSTRAINT:
      return code_of_constraint(data);
    case Type::TRANSACTION:
      return ErrorCode::kInvalidTransaction;
    case Type::NOT_IMPLEMENTED:
      return ErrorCode::kNotSupported;
    case Type::INTERRUPT:
      return ErrorCode::kCancelled;
    case Type::OUT_OF_MEMORY:
      return ErrorCode::kOutOfMemory;
    case Type::IO:
      return data.RawMessage().find("No files found") != std::string::npos ||
                     data.RawMessage().find("No such file") != std::string::npos
                 ? ErrorCode::kNotFound
                 : ErrorCode::kIo;
    case Type::INVALID_INPUT:
    case Type::INVALID:
    case Type::PARAMETER_NOT_ALLOWED:
    case Type::SETTINGS:
    case Type::PERMISSION:
      return ErrorCode::kInvalidArgument;
    default:
      return ErrorCode::kInternal;
  }
}

/// DuckDB's text names candidates on lines of their own: they become the hint.
void split_hint(Error& error) {
  for (const char* mark : {"\nDid you mean", "\nCandidate bindings:", "\n\tCandidate functions:",
                           "\nCandidate functions:", "\n\nCandidate"}) {
    const auto at = error.text.find(mark);
    if (at == std::string::npos) continue;
    auto hint = error.text.substr(error.text.find_first_not_of("\n\t", at));
    error.text.resize(at);
    if (error.hint.empty()) error.hint = std::move(hint);
    break;
  }
  while (!error.text.empty() && (error.text.back() == '\n' || error.text.back() == ' ')) {
    error.text.pop_back();
  }
}

}  // namespace

CarriedError::CarriedError(const Error& error, duckdb::ExceptionType type)
    : duckdb::Exception(to_duckdb(extra_info(error)), type, error.text) {}

Error to_error(const duckdb::ErrorData& data) {
  // Sessions ask DuckDB for errors as JSON (errors_as_json): as text they have lost the position.
  if (data.RawMessage().starts_with("{\"exception_type\"")) {
    return to_error(duckdb::ErrorData(data.RawMessage()));
  }
  Error error;
  error.text = data.RawMessage();
  error.position = to_number(data, kPositionKey);
  if (const auto code = to_number(data, kCodeKey)) {
    error.code = static_cast<ErrorCode>(*code);
    const auto hint = data.ExtraInfo().find(kHintKey);
    if (hint != data.ExtraInfo().end()) error.hint = hint->second;
    return error;
  }
  error.code = code_of(data);
  // DuckDB shows the line of the statement under its text; clients do that by position.
  if (const auto line = error.text.find("\n\nLINE "); line != std::string::npos) {
    error.text.resize(line);
  }
  split_hint(error);
  return error;
}

Error to_error(const std::exception& exception) { return to_error(duckdb::ErrorData(exception)); }

}  // namespace millrace::sql

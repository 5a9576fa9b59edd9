#include "sql/detail/copy_in.h"

#include <fmt/format.h>

#include <duckdb/common/types/column/column_data_collection.hpp>
#include <duckdb/parser/expression/star_expression.hpp>
#include <duckdb/parser/query_node/select_node.hpp>
#include <duckdb/parser/statement/insert_statement.hpp>
#include <duckdb/parser/tableref/column_data_ref.hpp>

#include "sql/detail/adapt.h"
#include "sql/detail/errors.h"
#include "sql/detail/storage.h"
#include "sql/format.h"

namespace millrace::sql {
namespace {

char unescape(char c) {
  switch (c) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'v':
      return '\v';
    default:
      return c;
  }
}

std::vector<TextRow> parse_text(std::string_view data) {
  std::vector<TextRow> rows;
  while (!data.empty()) {
    const auto newline = data.find('\n');
    auto line = data.substr(0, newline);
    data.remove_prefix(newline == std::string_view::npos ? data.size() : newline + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line == "\\.") break;
    TextRow row;
    for (size_t at = 0; at <= line.size();) {
      const auto tab = std::min(line.find('\t', at), line.size());
      const auto field = line.substr(at, tab - at);
      at = tab + 1;
      if (field == "\\N") {
        row.emplace_back();
        continue;
      }
      std::string value;
      for (size_t i = 0; i < field.size(); ++i) {
        value += field[i] == '\\' && i + 1 < field.size() ? unescape(field[++i]) : field[i];
      }
      row.emplace_back(std::move(value));
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

/// One CSV field from `at` on, past its closing delimiter.
Result<std::optional<std::string>> csv_field(std::string_view data, size_t& at) {
  std::string value;
  bool quoted = false;
  while (at < data.size() && data[at] != ',' && data[at] != '\n' && data[at] != '\r') {
    if (data[at] != '"') {
      value += data[at++];
      continue;
    }
    quoted = true;
    for (++at;; ++at) {
      if (at >= data.size()) {
        return Error{ErrorCode::kSyntax, "COPY: a quoted csv field has no end"};
      }
      if (data[at] != '"') {
        value += data[at];
      } else if (at + 1 < data.size() && data[at + 1] == '"') {
        value += data[++at];
      } else {
        ++at;
        break;
      }
    }
  }
  if (value.empty() && !quoted) return std::optional<std::string>();
  return std::optional(std::move(value));
}

Result<std::vector<TextRow>> parse_csv(std::string_view data) {
  std::vector<TextRow> rows;
  for (size_t at = 0; at < data.size();) {
    TextRow row;
    for (;;) {
      MR_TRY(auto field, csv_field(data, at));
      row.push_back(std::move(field));
      if (at >= data.size() || data[at] != ',') break;
      ++at;
    }
    if (at < data.size() && data[at] == '\r') ++at;
    if (at < data.size() && data[at] == '\n') ++at;
    if (row.size() == 1 && row[0] == "\\.") break;
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

Result<std::vector<TextRow>> parse_copy_text(std::string_view data,
                                             const CopyTextOptions& options) {
  std::vector<TextRow> rows;
  if (options.format == "csv") {
    MR_TRY(rows, parse_csv(data));
  } else if (options.format == "text") {
    rows = parse_text(data);
  } else {
    return Error{ErrorCode::kNotSupported,
                 fmt::format("COPY FORMAT {} is not supported", options.format), std::nullopt,
                 "Use text or csv."};
  }
  if (options.header && !rows.empty()) rows.erase(rows.begin());
  return rows;
}

Result<uint64_t> insert_text_rows(duckdb::Connection& connection, const std::string& table,
                                  const std::vector<std::string>& columns,
                                  std::vector<TextRow> rows, const catalog::Snapshot& snapshot) {
  const auto* object = snapshot.find(table);
  if (!object) {
    return Error{ErrorCode::kUndefinedObject, fmt::format("\"{}\" does not exist", table)};
  }
  size_t width = columns.size();
  if (columns.empty()) {
    MR_TRY(auto all, columns_of(*object));
    for (const auto& column : all) width += column.hidden ? 0 : 1;
  }
  const duckdb::vector<duckdb::LogicalType> types(width, duckdb::LogicalType::VARCHAR);
  auto collection =
      duckdb::make_uniq<duckdb::ColumnDataCollection>(duckdb::Allocator::DefaultAllocator(), types);
  duckdb::DataChunk chunk;
  chunk.Initialize(duckdb::Allocator::DefaultAllocator(), types);
  for (size_t at = 0; at < rows.size(); ++at) {
    if (rows[at].size() != width) {
      return Error{ErrorCode::kInvalidText, fmt::format("COPY {}, line {}: {} columns, expected {}",
                                                        table, at + 1, rows[at].size(), width)};
    }
    const auto row = chunk.size();
    for (size_t i = 0; i < width; ++i) {
      chunk.SetValue(i, row, rows[at][i] ? duckdb::Value(*rows[at][i]) : duckdb::Value());
    }
    chunk.SetCardinality(row + 1);
    if (chunk.size() == STANDARD_VECTOR_SIZE || at + 1 == rows.size()) {
      collection->Append(chunk);
      chunk.Reset();
    }
  }
  auto insert = duckdb::make_uniq<duckdb::InsertStatement>();
  insert->catalog = kDatabaseName;
  insert->schema = kSchemaName;
  insert->table = object->name;
  insert->columns.assign(columns.begin(), columns.end());
  auto select = duckdb::make_uniq<duckdb::SelectNode>();
  select->select_list.push_back(duckdb::make_uniq<duckdb::StarExpression>());
  duckdb::vector<std::string> names;
  for (size_t i = 0; i < width; ++i) names.push_back(fmt::format("c{}", i));
  select->from_table = duckdb::make_uniq<duckdb::ColumnDataRef>(std::move(collection), names);
  select->from_table->alias = "copied";
  insert->select_statement = duckdb::make_uniq<duckdb::SelectStatement>();
  insert->select_statement->node = std::move(select);
  MR_TRY(take_conflict_clause(*insert, snapshot));
  auto result = connection.Query(std::move(insert));
  if (result->HasError()) return to_error(result->GetErrorObject());
  return rows.size();
}

}  // namespace millrace::sql

#pragma once

#include <duckdb.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "catalog/catalog.h"
#include "sql/relation.h"

namespace millrace::sql {

struct CopyTextOptions {
  std::string format;  // "text" or "csv", with PostgreSQL's defaults
  bool header = false;
};
using TextRow = std::vector<std::optional<std::string>>;

/// Rows of COPY's text (tabs, \N, backslash escapes) or csv (commas, quotes, NULL is the unquoted
/// empty string). Errors: kSyntax (an unterminated quote), kNotSupported (the format).
Result<std::vector<TextRow>> parse_copy_text(std::string_view data, const CopyTextOptions& options);

/// Inserts `rows` as one INSERT; DuckDB casts them to the columns' types. Throws as DuckDB does.
Result<uint64_t> insert_text_rows(duckdb::Connection& connection, const std::string& table,
                                  const std::vector<std::string>& columns,
                                  std::vector<TextRow> rows, const catalog::Snapshot& snapshot);

}  // namespace millrace::sql

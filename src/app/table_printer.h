#pragma once

#include <optional>
#include <string>
#include <vector>

#include "app/cli.h"

namespace millrace::app {

/// A result in memory, as text. `numeric[i]`: column i holds numbers (right-aligned, bare in JSON);
/// `raw_json[i]`: its text is JSON already (booleans, documents).
struct TextTable {
  std::vector<std::string> names;
  std::vector<bool> numeric;
  std::vector<bool> raw_json;
  std::vector<std::vector<std::optional<std::string>>> rows;

  explicit TextTable(std::vector<std::string> column_names = {});
  void add(std::vector<std::optional<std::string>> row) { rows.push_back(std::move(row)); }
};

/// The whole text, with a final newline: an aligned table with a row count, a JSON array of
/// objects, or CSV (RFC 4180).
std::string render(const TextTable& table, Output output);

/// `text` as a JSON string, quotes included.
std::string json_quote(std::string_view text);

}  // namespace millrace::app

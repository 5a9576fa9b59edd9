#include "oracle/query_columns.h"

#include <fmt/format.h>

#include "oracle/query_generator.h"

namespace millrace::flow {

const char* literal(Type type, uint32_t choice) {
  static const char* const kIntegers[] = {"1", "0", "2", "3", "-1"};
  static const char* const kTexts[] = {"'a'", "''", "'b'", "'a text of more than twelve'", "'c'"};
  static const char* const kDecimals[] = {"1.50", "0.00", "-2.25", "3.00", "10.10"};
  static const char* const kTimes[] = {
      "TIMESTAMP '2024-01-01 00:00:00'", "TIMESTAMP '2024-01-01 01:00:00'",
      "TIMESTAMP '2024-01-01 00:30:00'", "TIMESTAMP '2024-01-02 00:00:00'",
      "TIMESTAMP '2023-12-31 23:00:00'"};
  static const char* const kBooleans[] = {"true", "false", "true", "false", "true"};
  static const char* const* const kOf[] = {kIntegers, kTexts, kDecimals, kTimes, kBooleans};
  return kOf[static_cast<size_t>(type)][choice];
}

uint32_t Choices::below(uint32_t n) {
  uint32_t choice = 0;
  if (!replays_) {
    choice = static_cast<uint32_t>(random_() % n);
  } else if (made_.size() < given_.size()) {
    choice = given_[made_.size()] % n;
  }
  made_.push_back(choice);
  return choice;
}

void GeneratedTable::append_to(std::vector<std::string>& setup) const {
  setup.push_back(create);
  std::string values;
  for (const auto& row : rows) values += (values.empty() ? "" : ", ") + row;
  if (!values.empty()) setup.push_back(fmt::format("INSERT INTO {} VALUES {}", name, values));
}

std::vector<GeneratedTable> generate_tables(std::mt19937_64& random) {
  std::vector<GeneratedTable> tables;
  for (const char* name : kTables) {
    GeneratedTable table{name,
                         fmt::format("CREATE TABLE {}(k INTEGER, i INTEGER, s VARCHAR, "
                                     "d DECIMAL(8, 2), ts TIMESTAMP, f BOOLEAN)",
                                     name),
                         {}};
    for (uint64_t n = random() % 12; n > 0; --n) {
      if (!table.rows.empty() && random() % 6 == 0) {
        table.rows.push_back(table.rows[random() % table.rows.size()]);
        continue;
      }
      std::string row;
      for (const auto& [column, type] : kColumns) {
        const bool null = random() % 5 == 0;
        row += fmt::format("{}{}", row.empty() ? "(" : ", ",
                           null ? "NULL" : literal(type, static_cast<uint32_t>(random() % 5)));
      }
      table.rows.push_back(row + ")");
    }
    tables.push_back(std::move(table));
  }
  return tables;
}

}  // namespace millrace::flow

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "oracle/replay.h"
#include "oracle/windows.h"

// The statements of test/sql: README.md there says what stands in a file.

namespace millrace::flow {
namespace {

namespace fs = std::filesystem;

struct Statement {
  size_t line = 0;
  std::string text;
  std::string refused;  // by the node, with this text
  std::string fails;    // when it is computed, with this text
  bool is_query() const { return !text.starts_with("CREATE ") && !text.starts_with("INSERT "); }
};

/// Statements end with a line that ends with `;`.
std::vector<Statement> read_file(const fs::path& path) {
  std::ifstream file(path);
  std::vector<Statement> statements;
  Statement now;
  std::string line;
  const auto mark = [&](const char* word, std::string& into) {
    if (line.starts_with(word)) into = line.substr(std::string(word).size());
  };
  for (size_t number = 1; std::getline(file, line); ++number) {
    mark("-- refused: ", now.refused);
    mark("-- fails: ", now.fails);
    if (line.starts_with("--") || line.empty()) continue;
    if (now.text.empty()) now.line = number;
    now.text += (now.text.empty() ? "" : "\n") + line;
    if (!line.ends_with(';')) continue;
    now.text.pop_back();
    statements.push_back(std::exchange(now, {}));
  }
  EXPECT_TRUE(now.text.empty()) << path << ": the last statement has no end";
  return statements;
}

std::vector<std::string> files() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(MR_TEST_SQL))
    if (entry.path().extension() == ".sql") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// That a view which cannot be kept is refused, or one fails, with the text that the file says.
void expect_error(const std::vector<std::string>& setup, const Statement& statement) {
  Rows rows(setup);
  Oracle oracle(rows.schema(), {});
  auto view = oracle.translate(expand_windows(statement.text));
  if (!statement.refused.empty()) {
    ASSERT_FALSE(view) << "it is no longer refused: make it a case";
    EXPECT_NE(view.error().text.find(statement.refused), std::string::npos) << view.error().text;
    return;
  }
  ASSERT_TRUE(view) << view.error().text;
  std::vector<Rows::Change> changes;
  for (const auto& row : rows.all()) changes.push_back({row, 1});
  rows.apply(changes, oracle, false);
  const auto stepped = oracle.step(**view, 1);
  ASSERT_FALSE(stepped) << "it does not fail";
  EXPECT_NE(stepped.error().text.find(statement.fails), std::string::npos) << stepped.error().text;
  EXPECT_THROW(rows.answer(statement.text), std::exception);
}

class SqlFiles : public testing::TestWithParam<std::string> {};

TEST_P(SqlFiles, EqualDuckDBAtEveryEpoch) {
  const uint64_t seed = seed_of_run();
  std::vector<std::string> setup, queries;
  std::vector<size_t> lines;
  for (const auto& statement : read_file(fs::path(MR_TEST_SQL) / (GetParam() + ".sql"))) {
    if (!statement.is_query()) {
      setup.push_back(statement.text);
    } else if (statement.refused.empty() && statement.fails.empty()) {
      queries.push_back(statement.text);
      lines.push_back(statement.line);
    } else {
      SCOPED_TRACE(fmt::format("test/sql/{}.sql:{}", GetParam(), statement.line));
      expect_error(setup, statement);
    }
  }
  std::set<size_t> broken;
  for (const Walk walk : kWalks)
    for (const auto& [query, text] : compare(setup, queries, walk, seed))
      if (broken.insert(query).second)
        ADD_FAILURE() << fmt::format("test/sql/{}.sql:{}: {}\n{}", GetParam(), lines[query],
                                     queries[query], text);
}

INSTANTIATE_TEST_SUITE_P(Oracle, SqlFiles, testing::ValuesIn(files()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace millrace::flow

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "oracle/replay.h"
#include "oracle/sql_file.h"
#include "oracle/windows.h"

// The statements of test/sql: README.md there says what stands in a file.

namespace millrace::flow {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> files() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(MR_TEST_FOLDER "/sql"))
    if (entry.path().extension() == ".sql") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// That a view is refused, fails or sets rows aside, with the text that the file says.
void expect_error(const std::vector<std::string>& setup, const Statement& statement) {
  Rows rows(setup);
  Oracle oracle(rows.schema(), {});
  auto view = oracle.translate(statement.text);
  if (!statement.refused.empty()) {
    ASSERT_FALSE(view) << "it is no longer refused: make it a case";
    EXPECT_THAT(view.error().text, testing::HasSubstr(statement.refused));
    return;
  }
  ASSERT_TRUE(view) << view.error().text;
  std::vector<Rows::Change> changes;
  for (const auto& row : rows.all()) changes.push_back({row, 1});
  rows.apply(changes, oracle, false);
  const auto stepped = oracle.step(**view, 1);
  if (!statement.fails.empty()) {
    ASSERT_FALSE(stepped) << "it does not fail";
    EXPECT_THAT(stepped.error().text, testing::HasSubstr(statement.fails));
  } else {
    ASSERT_TRUE(stepped) << stepped.error().text;
    EXPECT_THAT((*view)->set_aside, testing::Contains(testing::HasSubstr(statement.sets_aside)));
  }
  EXPECT_THROW(rows.answer(expand_windows(statement.text)), std::exception);
}

class SqlFiles : public testing::TestWithParam<std::string> {};

TEST_P(SqlFiles, EqualDuckDBAtEveryEpoch) {
  const uint64_t seed = seed_of_run();
  std::vector<std::string> setup, queries;
  std::vector<size_t> lines;
  for (const auto& statement : read_sql_file("sql/" + GetParam() + ".sql")) {
    if (!statement.is_query()) {
      setup.push_back(statement.text);
    } else if (statement.is_compared()) {
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

#include "oracle/sql_file.h"

#include <gtest/gtest.h>

#include <fstream>
#include <utility>

namespace millrace::flow {

std::vector<Statement> read_sql_file(const std::string& path) {
  std::ifstream file(MR_TEST_FOLDER "/" + path);
  EXPECT_TRUE(file) << path << " cannot be read";
  std::vector<Statement> statements;
  Statement now;
  std::string line;
  const auto mark = [&](const char* word, std::string& into) {
    if (line.starts_with(word)) into = line.substr(std::string(word).size());
  };
  for (size_t number = 1; std::getline(file, line); ++number) {
    mark("-- refused: ", now.refused);
    mark("-- fails: ", now.fails);
    mark("-- sets aside: ", now.sets_aside);
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

}  // namespace millrace::flow

#pragma once

#include <string>
#include <vector>

namespace millrace::flow {

/// One statement of a file of test/sql or test/tpch; test/sql/README.md says what stands there.
struct Statement {
  size_t line = 0;
  std::string text;
  std::string refused;     // by the node, with this text
  std::string fails;       // when it is computed, with this text
  std::string sets_aside;  // rows, with this text
  bool is_compared() const { return refused.empty() && fails.empty() && sets_aside.empty(); }
  bool is_query() const { return !text.starts_with("CREATE ") && !text.starts_with("INSERT "); }
};

/// `path`: below the folder test.
std::vector<Statement> read_sql_file(const std::string& path);

}  // namespace millrace::flow

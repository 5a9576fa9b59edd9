#pragma once

#include <memory>
#include <mutex>

#include "sql/detail/core.h"
#include "sql/engine.h"

namespace millrace::sql {

/// Plans standing queries in a DuckDB instance of its own, opened when first needed: an internal
/// error of DuckDB invalidates the instance it happens in. Any thread; one query at a time.
class ViewPlanner {
 public:
  explicit ViewPlanner(Core& core) : core_(core) {}

  struct Checked {
    std::vector<std::string> names;
    std::vector<duckdb::LogicalType> types;
    std::vector<std::string> depends_on;  // what the query itself names, functions too; sorted
  };
  Result<PlannedQuery> plan(const std::string& query);
  /// Binds `query` alone: its result and what it reads.
  Result<Checked> check(const std::string& query);
  /// A function of the user's may have this name: DuckDB has none. Errors: kDuplicateObject.
  Result<> check_function_name(const std::string& name);

 private:
  std::shared_ptr<duckdb::DuckDB> instance();
  void forget(const std::shared_ptr<duckdb::DuckDB>& instance);

  Core& core_;
  std::mutex mutex_;
  std::shared_ptr<duckdb::DuckDB> instance_;
};

}  // namespace millrace::sql

#pragma once

#include <duckdb.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "flow/detail/ops_harness.h"

namespace millrace::flow {

/// Plain DuckDB that has tables with rows, of which some are present at a time, and answers over
/// those. Its own instance: no transaction of a planned view stays open beside it.
class Rows {
 public:
  /// `setup`: CREATE TABLE and INSERT. No row is present at first.
  explicit Rows(const std::vector<std::string>& setup);

  /// One row of one table.
  struct Row {
    std::string table;
    size_t index;
    auto operator<=>(const Row&) const = default;
  };
  const std::vector<Row>& all() const { return all_; }
  const std::vector<std::string>& tables() const { return tables_; }
  /// The CREATE TABLE statements of `setup`.
  const std::vector<std::string>& schema() const { return schema_; }
  bool present(const Row& row) const { return present_.at(row.table)[row.index]; }
  const duckdb::vector<duckdb::Value>& values(const Row& row) const {
    return values_.at(row.table)[row.index];
  }

  /// One row more or less.
  struct Change {
    Row row;
    int64_t weight;
  };
  /// Makes the changes' rows present or not, and gives the changes to `oracle` in their order.
  /// `merged`: equal rows of an epoch as one with its weight, as a view's changelog has them.
  void apply(const std::vector<Change>& changes, Oracle& oracle, bool merged);
  /// DuckDB's answer over the rows that are present: row text to count. Throws DuckDB's error.
  std::map<std::string, int64_t> answer(const std::string& query);

 private:
  std::unique_ptr<duckdb::MaterializedQueryResult> run(const std::string& sql);
  void read_table(const std::string& table);

  duckdb::DuckDB instance_;
  duckdb::Connection connection_;
  std::vector<std::string> schema_, tables_;
  std::vector<Row> all_;
  std::map<std::string, std::vector<bool>> present_;
  std::map<std::string, std::vector<duckdb::vector<duckdb::Value>>> values_;
  std::map<std::string, duckdb::vector<duckdb::LogicalType>> types_;
};

/// In which steps the rows come and go. Each walk ends with all rows present.
enum class Walk {
  kWhole,     // all in one epoch, none, all again; equal rows as one with a weight
  kOneByOne,  // a row an epoch, the rest of many rows in one; none goes
  kGrowing,   // batches of random size, none goes
  kWandering  // batches of random size; rows go and come again, within an epoch too
};
inline constexpr Walk kWalks[] = {Walk::kWhole, Walk::kOneByOne, Walk::kGrowing, Walk::kWandering};

/// What happens to the rows, and how views are compared over them.
struct Replay {
  std::vector<std::vector<Rows::Change>> epochs;
  /// Which tables are topics; each query is a view for each of these.
  std::vector<std::set<std::string>> ways = {{}};
  bool merged = false;
  size_t shares = 1;  // of each dataflow
  /// So many epochs are compared at most, the last among them: answers cost most of the time.
  size_t compared_max = 16;
  std::string name;  // for messages
};
/// The rows of `rows` come and go as the walk says; which do when, and which tables are topics,
/// follows from the seed.
Replay replay_of(Walk walk, const Rows& rows, uint64_t seed);

/// What went wrong with a query of compare().
struct Wrong {
  size_t query;
  std::string text;
};
/// Queries as views: each must equal DuckDB's answer after the epochs. Gives the first thing that
/// went wrong with each query that is not right.
std::vector<Wrong> compare(Rows& rows, const std::vector<std::string>& queries,
                           const Replay& replay);
/// The same over the rows of `setup`, and a walk.
std::vector<Wrong> compare(const std::vector<std::string>& setup,
                           const std::vector<std::string>& queries, Walk walk, uint64_t seed);

/// The seed of this run: MR_SEED, or a random one; printed once.
uint64_t seed_of_run();

}  // namespace millrace::flow

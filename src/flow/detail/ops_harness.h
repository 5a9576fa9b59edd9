#pragma once

#include <duckdb.hpp>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "flow/detail/dataflow.h"
#include "flow/detail/parallel.h"
#include "flow/detail/state_stream.h"

namespace millrace::flow {

/// A state that is frozen, and what is saved of it so far.
struct Saving {
  std::deque<std::string> blocks;
  StateWriter out{[this](std::string block) { blocks.push_back(std::move(block)); }};
};

/// For tests: a DuckDB that holds the inputs as plain tables and answers every query afresh, and
/// dataflows of the same queries that are fed the changes.
class Oracle {
 public:
  /// `topics`: tables that are to be taken for topics, whose rows are never retracted.
  Oracle(const std::vector<std::string>& schema, std::set<std::string> topics);
  ~Oracle();

  struct View {
    std::string query;
    std::set<std::string> topics;  // the tables that it takes for topics
    size_t shares = 1;
    std::unique_ptr<Dataflow> flow;
    std::unique_ptr<Dataflow> twin;       // loaded from what `flow` saved; must answer as it does
    std::unique_ptr<Saving> saving;       // of the state after the last epoch
    std::map<std::string, int64_t> rows;  // what has come out, added up
    size_t changes = 0;                   // rows of the last epoch's output
    std::vector<Frontier> frontiers;      // of the last epoch's output
    std::vector<std::string> set_aside;   // why rows were left out, of all epochs
  };
  /// Plans and translates as sql::Engine::plan does.
  Result<std::unique_ptr<View>> translate(const std::string& query);

  /// Runs a statement; throws what DuckDB says against it.
  std::unique_ptr<duckdb::MaterializedQueryResult> run(const std::string& sql);
  /// Inserts rows, written as SQL VALUES, in the epoch under way. `ids`: of exactly these rows.
  void insert(const std::string& table, const std::string& values, const std::string& ids);
  /// Gives changes to the epoch under way, in their order, and leaves DuckDB's own table alone: for
  /// tests that hold the rows elsewhere. `rows` has all columns of the table.
  void give(const std::string& table, std::shared_ptr<const Delta> changes);
  /// Which tables the views that are translated from now on take for topics.
  void set_topics(std::set<std::string> topics) { topics_ = std::move(topics); }
  /// How many shares the dataflows translated from now on have; several run on two lanes.
  void set_shares(size_t shares) { shares_ = shares; }
  /// Deletes the rows with these ids ("1, 2, 3").
  void remove(const std::string& table, const std::string& ids);
  /// What every later row's column has at least, from this epoch's end on.
  void advance(const std::string& table, const std::string& column, const std::string& timestamp);

  /// Gives the epoch's changes to the view, and to a twin that is loaded anew from its saved state
  /// every third epoch: some of it saved then, the rest when the next epoch has been stepped.
  Result<> step(View& view, uint64_t epoch);
  /// The clock of the epochs that follow.
  void set_clock(int64_t clock_us) { clock_us_ = clock_us; }
  /// Begins the next epoch.
  void next_epoch();
  /// DuckDB's answer now, as `rows` of a view: row text to count.
  std::map<std::string, int64_t> answer(const std::string& query);

 private:
  struct Table {
    catalog::Object object;
    std::vector<std::string> columns;
    std::vector<std::shared_ptr<const Delta>> changes;  // of this epoch, all columns
    std::map<std::string, int64_t> frontiers;
  };
  void change(Table& table, const std::string& ids, int64_t weight);
  Result<std::unique_ptr<Dataflow>> make_flow(const View& view);
  void freeze(View& view, uint64_t epoch);
  Result<> reload_twin(View& view);

  std::unique_ptr<duckdb::DuckDB> instance_;
  // The same tables, always empty: the same query must give the same plan whenever it is planned.
  std::unique_ptr<duckdb::DuckDB> planning_;
  std::unique_ptr<duckdb::Connection> connection_;
  std::map<std::string, Table> tables_;
  std::set<std::string> topics_;
  int64_t clock_us_ = 0;
  size_t shares_ = 1;
  std::unique_ptr<Parallel> lanes_;
};

/// A row as text, floating point rounded so that the order of additions does not show.
std::string row_text(const duckdb::DataChunk& chunk, size_t row);
/// The first differences, for a failure's message; empty: equal.
std::string difference(const std::map<std::string, int64_t>& expected,
                       const std::map<std::string, int64_t>& got);

}  // namespace millrace::flow

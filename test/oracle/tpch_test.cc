#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "oracle/replay.h"
#include "oracle/sql_file.h"

// TPC-H's queries as views over tables that are loaded in random order, with updates, new orders
// (RF1) and deleted ones (RF2) in between.

namespace millrace::flow {
namespace {

constexpr size_t kEpochs = 60;
constexpr size_t kCompared = 12;

using Key = std::pair<std::string, std::vector<int32_t>>;

/// The table and the primary key of a row.
Key key_of(const Rows& rows, const Rows::Row& row) {
  const auto& values = rows.values(row);
  const bool two = row.table == "lineitem" || row.table == "partsupp";
  std::vector<int32_t> key = {values[0].GetValue<int32_t>()};
  if (two) key.push_back(values[1].GetValue<int32_t>());
  return {row.table, std::move(key)};
}

/// What happens at which moment between 0 and 1.
using Events = std::multimap<double, std::vector<Rows::Change>>;

/// What happens to the rows of each key: they come in the first part of the time, or later when
/// they belong to a new order; second versions replace first ones; some orders are deleted whole.
Events events_of(const Rows& rows, std::mt19937_64& random) {
  std::map<Key, std::vector<Rows::Row>> versions;
  for (const auto& row : rows.all()) versions[key_of(rows, row)].push_back(row);
  std::uniform_real_distribution<double> any(0, 1);
  std::map<int32_t, double> refreshed;  // by order: when it comes as new, or goes
  Events events;
  for (const auto& [key, of_key] : versions) {
    const auto& [table, numbers] = key;
    const bool of_order = table == "orders" || table == "lineitem";
    const bool is_new = of_order && numbers[0] % 32 == 9;
    const bool goes = of_order && !is_new && numbers[0] % 11 == 0;
    const double moment =
        of_order ? refreshed.try_emplace(numbers[0], 0.6 + any(random) * 0.4).first->second : 0;
    const double comes = is_new ? moment : any(random) * 0.6;
    events.insert({comes, {{of_key[0], 1}}});
    Rows::Row current = of_key[0];
    if (of_key.size() > 1) {
      const double until = goes ? moment : 1;
      events.insert({comes + (until - comes) * any(random), {{current, -1}, {of_key[1], 1}}});
      current = of_key[1];
    }
    if (goes) events.insert({moment, {{current, -1}}});
  }
  return events;
}

TEST(TpcH, EqualsDuckDBThroughLoadingUpdatesAndRefreshes) {
  const uint64_t seed = seed_of_run();
  std::mt19937_64 random(seed);
  std::vector<std::string> setup, queries;
  for (const auto& statement : read_sql_file("tpch/data.sql")) setup.push_back(statement.text);
  for (const auto& statement : read_sql_file("tpch/queries.sql")) queries.push_back(statement.text);
  ASSERT_EQ(queries.size(), 22u);
  Rows rows(setup);
  Replay replay;
  replay.name = fmt::format("MR_SEED={}", seed);
  replay.compared_max = kCompared;
  replay.epochs.resize(kEpochs);
  for (const auto& [at, happens] : events_of(rows, random)) {
    auto& epoch = replay.epochs[std::min(kEpochs - 1, static_cast<size_t>(at * kEpochs))];
    epoch.insert(epoch.end(), happens.begin(), happens.end());
  }
  for (const auto& [query, text] : compare(rows, queries, replay))
    ADD_FAILURE() << fmt::format("Q{}: {}", query + 1, text);
  // An answer without rows, or of NULLs, proves nothing.
  for (size_t i = 0; i < queries.size(); ++i) {
    const auto answer = rows.answer(queries[i]);
    EXPECT_TRUE(!answer.empty() && !answer.contains("NULL")) << "Q" << i + 1;
  }
}

}  // namespace
}  // namespace millrace::flow

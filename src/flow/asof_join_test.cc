#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "flow/detail/ops_harness.h"

namespace millrace::flow {
namespace {

// DuckDB 1.5.6 may never end an ASOF join that keeps right rows, so here it computes one in two
// parts: what the left rows take, and the right rows that none of them does. Of equal right rows
// one is taken.
struct Kept {
  const char* kind;    // RIGHT, FULL
  const char* taking;  // the join of the first part
};
constexpr const char* kView =
    "SELECT a.id, b.k, b.ts FROM a ASOF {0} JOIN (SELECT k, ts FROM b) b ON {1}";
constexpr const char* kExpected =
    "WITH taken AS (SELECT a.id, b.k, b.ts FROM a ASOF {0} JOIN (SELECT DISTINCT k, ts FROM b) b "
    "ON {1}), copies AS (SELECT k, ts, row_number() OVER (PARTITION BY k, ts) AS copy FROM b) "
    "SELECT id, k, ts FROM taken UNION ALL SELECT NULL, c.k, c.ts FROM copies c WHERE copy > 1 OR "
    "NOT EXISTS (FROM taken t WHERE t.k IS NOT DISTINCT FROM c.k AND t.ts = c.ts)";

/// Rows of `table` with some of these ids come; the ids that were taken.
std::string insert_some(Oracle& oracle, const std::string& table, int64_t& next,
                        std::mt19937_64& random) {
  std::string values, ids;
  for (uint64_t i = random() % 7; i > 0; --i, ++next) {
    const auto small = [&](uint64_t n) {
      return random() % 9 == 0 ? "NULL" : std::to_string(random() % n);
    };
    const auto row = fmt::format("({}, {}, {})", next, small(3), small(12));
    values += (values.empty() ? "" : ", ") + row;
    if (random() % 4 == 0) values += ", " + row;
    ids += fmt::format("{}{}", ids.empty() ? "" : ", ", next);
  }
  if (!ids.empty()) oracle.insert(table, values, ids);
  return ids;
}

TEST(AsofJoin, KeepsRightRowsThatNoLeftRowTakes) {
  const char* given = std::getenv("MR_SEED");
  const uint64_t seed = given ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE(fmt::format("MR_SEED={}", seed));
  std::mt19937_64 random(seed);
  Oracle oracle({"CREATE TABLE a(id BIGINT, k INTEGER, ts INTEGER)",
                 "CREATE TABLE b(id BIGINT, k INTEGER, ts INTEGER)"},
                {});
  // Few rows it joins by a loop, and a left row without a time then takes none, as it should.
  oracle.run("SET asof_loop_join_threshold = 1000000000");
  struct Case {
    std::unique_ptr<Oracle::View> view;
    std::string expected;
  };
  std::vector<Case> cases;
  for (const Kept& kept : {Kept{"RIGHT", ""}, Kept{"FULL", "LEFT"}}) {
    for (const char* on : {"a.k = b.k AND a.ts >= b.ts", "a.k = b.k AND a.ts > b.ts",
                           "a.k = b.k AND a.ts <= b.ts", "a.k = b.k AND a.ts < b.ts"}) {
      oracle.set_shares(1 + cases.size() % 2);
      auto view = oracle.translate(fmt::format(fmt::runtime(kView), kept.kind, on));
      ASSERT_TRUE(view) << view.error().text;
      cases.push_back({std::move(*view), fmt::format(fmt::runtime(kExpected), kept.taking, on)});
    }
  }
  std::map<std::string, std::vector<std::string>> live;
  int64_t next = 1;
  for (uint64_t epoch = 1; epoch <= 40; ++epoch) {
    for (const std::string table : {"a", "b"}) {
      auto& batches = live[table];
      if (auto ids = insert_some(oracle, table, next, random); !ids.empty()) batches.push_back(ids);
      while (!batches.empty() && random() % 2 == 0) {  // some of them at once
        std::swap(batches[random() % batches.size()], batches.back());
        oracle.remove(table, batches.back());
        batches.pop_back();
      }
    }
    for (auto& [view, expected] : cases) {
      ASSERT_TRUE(oracle.step(*view, epoch));
      ASSERT_EQ(difference(oracle.answer(expected), view->rows), "")
          << "epoch " << epoch << ": " << view->query;
    }
    oracle.next_epoch();
  }
}

}  // namespace
}  // namespace millrace::flow

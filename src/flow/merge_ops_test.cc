#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>

#include "flow/detail/ops_harness.h"

namespace millrace::flow {
namespace {

constexpr const char* kHops =
    "(SELECT *, w + INTERVAL '6 minutes' AS e FROM (SELECT *, unnest(generate_series("
    "time_bucket(INTERVAL '2 minutes', ts - INTERVAL '6 minutes') + INTERVAL '2 minutes', "
    "time_bucket(INTERVAL '2 minutes', ts), INTERVAL '2 minutes')) AS w FROM a))";

bool merges(const Oracle::View& view) {
  return view.flow->describe().find("merge equal rows") != std::string::npos;
}

/// A few epochs of rows at 20 minutes and of 5 keys, some without a time; with `taken_back`, each
/// epoch takes out some of those before.
void compare(std::vector<std::unique_ptr<Oracle::View>>& views, Oracle& oracle, bool taken_back) {
  std::mt19937 random(11);
  int id = 0;
  for (uint64_t epoch = 1; epoch <= 6; ++epoch) {
    for (int i = 0; taken_back && id > 0 && i < 20; ++i)
      oracle.remove("a", fmt::format("{}", 1 + random() % id));
    for (int i = 0; i < 100; ++i) {
      ++id;
      const auto ts = random() % 20 == 0 ? "NULL"
                                         : fmt::format("'2024-03-01 10:{:02}:{:02}'", random() % 20,
                                                       random() % 60);
      oracle.insert("a", fmt::format("({}, {}, {})", id, random() % 5, ts), fmt::format("{}", id));
    }
    for (auto& view : views) {
      const auto stepped = oracle.step(*view, epoch);
      ASSERT_TRUE(stepped) << view->query << ": " << stepped.error().text;
      EXPECT_EQ(difference(oracle.answer(view->query), view->rows), "") << view->query;
    }
    oracle.next_epoch();
  }
}

void compare(const std::vector<std::string>& queries, bool merged) {
  for (const size_t shares : {1, 3})
    for (const bool topic : {true, false}) {
      Oracle oracle({"CREATE TABLE a(id BIGINT, k INTEGER, ts TIMESTAMP)"},
                    topic ? std::set<std::string>{"a"} : std::set<std::string>{});
      oracle.set_shares(shares);
      std::vector<std::unique_ptr<Oracle::View>> views;
      for (const auto& query : queries) {
        auto view = oracle.translate(query);
        ASSERT_TRUE(view) << query << ": " << view.error().text;
        EXPECT_EQ(merges(**view), merged) << query << "\n" << (*view)->flow->describe();
        views.push_back(std::move(*view));
      }
      compare(views, oracle, !topic);
    }
}

TEST(MergeRows, RowsOfOneSlideAreCountedBeforeTheyAreDealtToWindows) {
  compare({fmt::format("SELECT k, w, e, count(*) FROM {} GROUP BY k, w, e", kHops),
           fmt::format("SELECT w, count(*) FROM {} WHERE k > 1 GROUP BY w", kHops),
           fmt::format("SELECT k, w FROM {} GROUP BY k, w", kHops),
           fmt::format("SELECT max(n) FROM (SELECT k % 2 AS odd, w, count(*) AS n FROM {} GROUP BY "
                       "odd, w)",
                       kHops)},
          true);
}

TEST(MergeRows, NotWhereMoreOfARowIsLookedAt) {
  compare({fmt::format("SELECT k, w, count(*), sum(id) FROM {} GROUP BY k, w", kHops),
           fmt::format("SELECT w, ts, count(*) FROM {} GROUP BY w, ts", kHops),
           fmt::format("SELECT DISTINCT k, w FROM {}", kHops),
           fmt::format("SELECT id, k, w FROM {}", kHops)},
          false);
}

}  // namespace
}  // namespace millrace::flow

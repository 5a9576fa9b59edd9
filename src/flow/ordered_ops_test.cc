#include <fmt/format.h>
#include <gtest/gtest.h>

#include "flow/detail/ops_feeder.h"

namespace millrace::flow {
namespace {

/// LIMIT in all its places. Every order is total but for rows that are equal, so that DuckDB has
/// one answer.
const std::vector<std::string> kQueries = {
    "SELECT * FROM a ORDER BY id LIMIT 3",
    "SELECT id, k, s FROM a ORDER BY k DESC NULLS LAST, s NULLS FIRST, id LIMIT 10",
    "SELECT * FROM a ORDER BY x DESC NULLS FIRST, id LIMIT 7 OFFSET 4",
    "SELECT * FROM b ORDER BY v, id OFFSET 5",
    "SELECT * FROM b ORDER BY v, id LIMIT 1000",
    "SELECT * FROM b ORDER BY v, id LIMIT 0",
    "SELECT * FROM b ORDER BY v, id LIMIT 20%",
    "SELECT * FROM b ORDER BY v DESC, id LIMIT 35% OFFSET 3",
    "SELECT id + 1 AS i, upper(s) AS u FROM a ORDER BY d DESC NULLS LAST, id LIMIT 6",
    "SELECT id, upper(g) FROM c ORDER BY st NULLS FIRST, m, id LIMIT 12",
    "SELECT id, l FROM a ORDER BY l DESC NULLS LAST, id LIMIT 9",
    "SELECT k, count(*) n FROM a GROUP BY k ORDER BY n DESC, k LIMIT 3",
    "SELECT k, sum(d) t FROM a GROUP BY k ORDER BY t DESC NULLS LAST, k LIMIT 2 OFFSET 1",
    "SELECT DISTINCT k FROM a ORDER BY k DESC NULLS LAST LIMIT 4",
    // Which rows a LIMIT without ORDER BY takes is open; how many it takes is not.
    "SELECT count(*) FROM (SELECT id FROM a LIMIT 5)",
    "SELECT count(*), count(k) <= 7 FROM (SELECT k FROM b LIMIT 7 OFFSET 2)",
    "SELECT count(*) FROM (SELECT id FROM a LIMIT 30%)",
    // In subqueries.
    "SELECT id FROM b WHERE k IN (SELECT k FROM a ORDER BY id DESC LIMIT 3)",
    "SELECT t.id, b.name FROM (SELECT id, k FROM a ORDER BY id DESC LIMIT 5) t JOIN b ON t.k = b.k",
    "SELECT id, (SELECT s FROM a ORDER BY id DESC LIMIT 1) z FROM b",
    "SELECT max(v) FROM (SELECT v FROM b ORDER BY id DESC LIMIT 10)",
    "(SELECT id FROM a ORDER BY id LIMIT 2) UNION ALL (SELECT id FROM b ORDER BY id DESC LIMIT 2)",
    "WITH t AS MATERIALIZED (SELECT id, k FROM a ORDER BY id LIMIT 6) SELECT x.id, y.id FROM t x "
    "JOIN t y ON x.k = y.k",
    // The first of each.
    "SELECT DISTINCT ON (k) k, id, s FROM a ORDER BY k, id DESC",
    "SELECT DISTINCT ON (k, s) k, s, d, id FROM a ORDER BY ts DESC NULLS LAST, id",
    "SELECT DISTINCT ON (v % 3) v % 3 r, name, id FROM b ORDER BY r, ts NULLS FIRST, id",
    "SELECT count(*), count(DISTINCT k) FROM (SELECT DISTINCT ON (k) k, id FROM a)",
    "SELECT DISTINCT ON (st) st, id FROM c ORDER BY st, id LIMIT 3",
};

TEST(Ordered, ViewsOverTablesEqualDuckDB) { compare_all(kQueries, {}, 16); }
TEST(Ordered, ViewsOverTopicsEqualDuckDB) { compare_all(kQueries, {"a", "b", "c"}, 16); }

const std::vector<std::string> kSchema = {"CREATE TABLE t(id BIGINT, k INTEGER, v INTEGER)"};

/// Inserts the rows (id, k, v) into t, one epoch a list, in this order, and gives what the view
/// has.
std::map<std::string, int64_t> fed(const std::string& query,
                                   const std::vector<std::vector<int>>& epochs) {
  Oracle oracle(kSchema, {});
  auto view = oracle.translate(query);
  EXPECT_TRUE(view) << query << "\n" << view.error().text;
  for (size_t epoch = 0; epoch < epochs.size(); ++epoch) {
    for (const int id : epochs[epoch])
      oracle.insert("t", fmt::format("({}, {}, 1)", id, id % 2), fmt::format("{}", id));
    EXPECT_TRUE(oracle.step(**view, epoch + 1));
    oracle.next_epoch();
  }
  return (*view)->rows;
}

TEST(Ordered, TiesDoNotDependOnTheOrderOfArrival) {
  for (const char* query :
       {"SELECT * FROM t LIMIT 3", "SELECT * FROM t ORDER BY v LIMIT 3 OFFSET 1",
        "SELECT DISTINCT ON (k) k, id FROM t", "SELECT * FROM t LIMIT 50%"}) {
    const auto forth = fed(query, {{1, 2, 3}, {4, 5}, {6, 7, 8}});
    EXPECT_EQ(forth, fed(query, {{8, 7}, {6}, {5, 4, 3, 2, 1}})) << query;
    EXPECT_EQ(forth, fed(query, {{5, 1, 8, 3, 7, 2, 6, 4}})) << query;
  }
}

TEST(Ordered, OverAStreamOnlyTheFirstRowsAreKept) {
  for (const char* query : {"SELECT * FROM t ORDER BY v DESC, id LIMIT 5 OFFSET 5",
                            "SELECT DISTINCT ON (k) k, v, id FROM t ORDER BY v, id"}) {
    Oracle oracle(kSchema, {"t"});
    auto view = oracle.translate(query);
    ASSERT_TRUE(view) << view.error().text;
    size_t bytes = 0;
    for (int epoch = 1; epoch <= 40; ++epoch) {
      std::string values, ids;
      for (int i = 0; i < 500; ++i) {
        const int id = epoch * 1000 + i;
        values += fmt::format("{}({}, {}, {})", i == 0 ? "" : ", ", id, id % 10, (id * 7919) % 977);
        ids += fmt::format("{}{}", i == 0 ? "" : ", ", id);
      }
      oracle.insert("t", values, ids);
      ASSERT_TRUE(oracle.step(**view, static_cast<uint64_t>(epoch)));
      oracle.next_epoch();
      if (epoch == 2) bytes = (*view)->flow->state_bytes();
    }
    EXPECT_EQ(difference(oracle.answer(query), (*view)->rows), "");
    EXPECT_EQ((*view)->flow->state_bytes(), bytes) << query;
  }
}

TEST(Ordered, WhatIsRetractedLeavesNoState) {
  Oracle oracle(kSchema, {});
  auto view = oracle.translate("SELECT DISTINCT ON (k) * FROM t ORDER BY v, id");
  ASSERT_TRUE(view) << view.error().text;
  size_t bytes = 0;
  for (uint64_t round = 0; round < 20; ++round) {
    std::string values, ids;
    for (uint64_t i = 0; i < 300; ++i) {
      const uint64_t id = round * 1000 + i;
      values += fmt::format("{}({}, {}, {})", i == 0 ? "" : ", ", id, id, i % 7);
      ids += fmt::format("{}{}", i == 0 ? "" : ", ", id);
    }
    oracle.insert("t", values, ids);
    ASSERT_TRUE(oracle.step(**view, 2 * round + 1));
    oracle.next_epoch();
    oracle.remove("t", ids);
    ASSERT_TRUE(oracle.step(**view, 2 * round + 2));
    oracle.next_epoch();
    EXPECT_TRUE((*view)->rows.empty());
    if (round == 2) bytes = (*view)->flow->state_bytes();
  }
  EXPECT_LE((*view)->flow->state_bytes(), bytes + bytes / 4);
}

}  // namespace
}  // namespace millrace::flow

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "flow/detail/ops_feeder.h"

namespace millrace::flow {
namespace {

/// Window functions of every kind. Every order is total but for rows that are equal (or the
/// function does not see how peers are ordered), so that DuckDB has one answer.
const std::vector<std::string> kQueries = {
    "SELECT id, row_number() OVER (PARTITION BY k ORDER BY id) r FROM a",
    "SELECT id, row_number() OVER (ORDER BY id DESC) r FROM a",
    "SELECT id, k, rank() OVER (PARTITION BY s ORDER BY k) r, dense_rank() OVER (PARTITION BY s "
    "ORDER BY k) dr, percent_rank() OVER (PARTITION BY s ORDER BY k) pr, cume_dist() OVER "
    "(PARTITION BY s ORDER BY k) cd FROM a",
    "SELECT id, ntile(3) OVER (PARTITION BY k ORDER BY id) t FROM b",
    "SELECT id, lag(v) OVER (PARTITION BY k ORDER BY id) p, lead(v, 2, -1) OVER (PARTITION BY k "
    "ORDER BY id) n FROM b",
    "SELECT id, lag(v IGNORE NULLS) OVER (PARTITION BY k ORDER BY id) p FROM b",
    "SELECT id, lead(name, id::INTEGER % 3) OVER (ORDER BY id) n FROM b",
    "SELECT id, first_value(s) OVER w f, last_value(s) OVER w l, nth_value(s, 2) OVER w n FROM a "
    "WINDOW w AS (PARTITION BY k ORDER BY id)",
    "SELECT id, first_value(s IGNORE NULLS) OVER w f, last_value(s IGNORE NULLS) OVER w l, "
    "nth_value(s, 3 IGNORE NULLS) OVER w n FROM a WINDOW w AS (PARTITION BY k ORDER BY id ROWS "
    "BETWEEN 3 PRECEDING AND 2 FOLLOWING)",
    "SELECT id, sum(v) OVER (PARTITION BY k ORDER BY id) running, count(*) OVER (PARTITION BY k) n "
    "FROM b",
    "SELECT id, avg(v) OVER (PARTITION BY k ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) "
    "m FROM b",
    "SELECT id, sum(v) OVER (PARTITION BY k ORDER BY v RANGE BETWEEN 2 PRECEDING AND 1 FOLLOWING) "
    "s FROM b WHERE v IS NOT NULL",
    "SELECT id, count(*) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '3 hours' "
    "PRECEDING AND CURRENT ROW) n FROM a WHERE ts IS NOT NULL",
    "SELECT id, sum(k) OVER (ORDER BY v GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING) s FROM b",
    "SELECT id, sum(v) OVER (PARTITION BY k ORDER BY v ROWS BETWEEN UNBOUNDED PRECEDING AND "
    "UNBOUNDED FOLLOWING EXCLUDE TIES) s, count(*) OVER (PARTITION BY k ORDER BY v RANGE BETWEEN "
    "UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE GROUP) g, max(v) OVER (PARTITION BY k "
    "ORDER BY id, v ROWS BETWEEN 3 PRECEDING AND 3 FOLLOWING EXCLUDE CURRENT ROW) m FROM b",
    "SELECT id, sum(v) FILTER (WHERE v > 3) OVER (PARTITION BY k ORDER BY id) s, count(DISTINCT v) "
    "OVER (PARTITION BY k) d, count(DISTINCT v) OVER (PARTITION BY k ORDER BY id) rd FROM b",
    "SELECT id, list(s) OVER (PARTITION BY k ORDER BY id) l, string_agg(s, ',') OVER (PARTITION BY "
    "k ORDER BY id ROWS 2 PRECEDING) t FROM a",
    "SELECT id, median(x) OVER (PARTITION BY k) m, quantile_disc(d, 0.75) OVER (PARTITION BY k "
    "ORDER BY id) q, mode(s) OVER (PARTITION BY id % 4, s) o FROM a",
    "SELECT id, min(st) OVER (PARTITION BY h ORDER BY id) mn, max(m) OVER (PARTITION BY h) mx, "
    "arg_max(g, id) OVER (PARTITION BY h ORDER BY id) am FROM c",
    "SELECT id, list(v ORDER BY v DESC, id) OVER (PARTITION BY k) l, first_value(name ORDER BY id "
    "DESC) OVER (PARTITION BY k) f FROM b",
    "SELECT id, row_number() OVER (PARTITION BY k ORDER BY id) a1, row_number() OVER (PARTITION BY "
    "k ORDER BY id DESC) a2, row_number() OVER (PARTITION BY s ORDER BY k, id) a3, rank() OVER "
    "(ORDER BY k) a4, count(*) OVER () a5 FROM (SELECT DISTINCT id, k, s FROM a)",
    "SELECT id, fill(v) OVER (PARTITION BY k ORDER BY id) f FROM (SELECT id, k, max(v) v FROM b "
    "GROUP BY id, k)",
    "SELECT k, count(*) n, sum(count(*)) OVER (ORDER BY k) c, count(*) * 100.0 / sum(count(*)) "
    "OVER () pct FROM a GROUP BY k",
    "SELECT k, avg(r) FROM (SELECT k, row_number() OVER (PARTITION BY s ORDER BY id) r FROM a) "
    "GROUP BY k",
    "SELECT x.id, y.id, x.d FROM (SELECT id, k, dense_rank() OVER (PARTITION BY s ORDER BY k) d "
    "FROM a) x JOIN b y ON x.d = y.v",
    // The first n of each.
    "SELECT id, k, r FROM (SELECT id, k, row_number() OVER (PARTITION BY k ORDER BY id DESC) r "
    "FROM a) WHERE r <= 3",
    "SELECT id, k FROM (SELECT id, k, row_number() OVER (PARTITION BY k ORDER BY id DESC) r FROM "
    "a) WHERE r <= 3",
    "SELECT * FROM b QUALIFY row_number() OVER (PARTITION BY k ORDER BY ts DESC NULLS LAST, id) = "
    "1",
    "SELECT *, row_number() OVER (PARTITION BY k ORDER BY v, id) r FROM b QUALIFY r = 2",
    "SELECT id, row_number() OVER (PARTITION BY k, s ORDER BY id) r FROM a QUALIFY r < 3 AND id % "
    "2 = 0",
    "SELECT id, row_number() OVER (ORDER BY x DESC NULLS LAST, id) r FROM a QUALIFY 5 >= r",
    "SELECT id, k, count(*) OVER (PARTITION BY k) n FROM b QUALIFY n > 2",
    "SELECT id, rank() OVER (PARTITION BY k ORDER BY v) r FROM b QUALIFY r <= 2",
    "SELECT id, row_number() OVER (PARTITION BY k ORDER BY id) r FROM b QUALIFY r > 2",
    // LATERAL, which DuckDB plans with window functions.
    "SELECT b.id, t.id FROM b, LATERAL (SELECT a.id FROM a WHERE a.k = b.k ORDER BY a.id DESC "
    "LIMIT 2) t",
    "SELECT b.id, t.x FROM b LEFT JOIN LATERAL (SELECT x FROM a WHERE a.k = b.v ORDER BY a.id "
    "LIMIT "
    "1) t ON true",
    "SELECT b.id, t.n, t.m FROM b, LATERAL (SELECT count(*) n, max(x) m FROM a WHERE a.k = b.k) t",
    "SELECT id, (SELECT s FROM a WHERE a.k = b.k ORDER BY a.id DESC LIMIT 1) z FROM b",
    "SELECT id, (SELECT s FROM a WHERE a.k = b.k ORDER BY a.id DESC LIMIT 1 OFFSET 1) z FROM b",
};

TEST(Windows, ViewsOverTablesEqualDuckDB) { compare_all(kQueries, {}, 12); }
TEST(Windows, ViewsOverTopicsEqualDuckDB) { compare_all(kQueries, {"a", "b", "c"}, 12); }

const std::vector<std::string> kSchema = {"CREATE TABLE t(id BIGINT, k INTEGER, v INTEGER)"};

/// Inserts rows (id, k, v) into t, one epoch a list, in this order, and gives what the view has.
std::map<std::string, int64_t> fed(const std::string& query,
                                   const std::vector<std::vector<int>>& epochs) {
  Oracle oracle(kSchema, {});
  auto view = oracle.translate(query);
  EXPECT_TRUE(view) << query << "\n" << view.error().text;
  for (size_t epoch = 0; epoch < epochs.size(); ++epoch) {
    std::string values, ids;
    for (const int id : epochs[epoch]) {
      values += fmt::format("{}({}, {}, {})", values.empty() ? "" : ", ", id, id % 3, id % 2);
      ids += fmt::format("{}{}", ids.empty() ? "" : ", ", id);
    }
    oracle.insert("t", values, ids);
    EXPECT_TRUE(oracle.step(**view, epoch + 1));
    oracle.next_epoch();
  }
  return (*view)->rows;
}

TEST(Windows, TiesDoNotDependOnTheOrderOfArrival) {
  std::vector<int> up, down, mixed;
  for (int i = 0; i < 300; ++i) {
    up.push_back(i);
    down.push_back(299 - i);
    mixed.push_back(i * 7 % 300);
  }
  for (const char* query :
       {"SELECT id, row_number() OVER (PARTITION BY k ORDER BY v) r FROM t",
        "SELECT id, row_number() OVER () r FROM t",
        "SELECT id, first_value(id) OVER (PARTITION BY k ORDER BY v) f, last_value(id) OVER "
        "(PARTITION BY k ORDER BY v) l FROM t",
        "SELECT id, lag(id) OVER (PARTITION BY k ORDER BY v) p, rank() OVER (PARTITION BY k ORDER "
        "BY v) r, lead(id) OVER (PARTITION BY k ORDER BY v DESC) n FROM t",
        "SELECT id, list(id) OVER (PARTITION BY k ORDER BY v) l FROM t",
        "SELECT id, list(id) OVER (PARTITION BY k ORDER BY v ROWS BETWEEN UNBOUNDED PRECEDING AND "
        "UNBOUNDED FOLLOWING) l FROM t",
        "SELECT id, list(id ORDER BY v) OVER (PARTITION BY k ORDER BY id ROWS 40 PRECEDING) l FROM "
        "t",
        "SELECT id, row_number() OVER (PARTITION BY k ORDER BY v) r FROM t QUALIFY r <= 4"}) {
    const auto forth = fed(query, {up});
    EXPECT_EQ(difference(forth, fed(query, {down})), "") << query;
    EXPECT_EQ(difference(forth, fed(query, {mixed})), "") << query;
    const std::vector<std::vector<int>> parts = {{down.begin(), down.begin() + 130},
                                                 {down.begin() + 130, down.end()}};
    EXPECT_EQ(difference(forth, fed(query, parts)), "") << query;
  }
}

TEST(Windows, TheFirstOfEachAreATopN) {
  Oracle oracle(kSchema, {"t"});
  const auto expect = [&](const std::string& query, const std::string& op) {
    auto view = oracle.translate(query);
    ASSERT_TRUE(view) << query << "\n" << view.error().text;
    const auto plan = (*view)->flow->describe();
    EXPECT_NE(plan.find(op), std::string::npos) << plan;
  };
  expect("SELECT * FROM t QUALIFY row_number() OVER (PARTITION BY k ORDER BY v DESC) = 1",
         "top 1 of each k by v DESC");
  expect("SELECT *, row_number() OVER (PARTITION BY k ORDER BY v) r FROM t QUALIFY r < 4",
         "numbered top 3 of each k by v");
  expect("SELECT *, row_number() OVER (PARTITION BY k ORDER BY v) r FROM t",
         "window functions over each k");
}

TEST(Windows, OnlyWhatChangesIsPutOut) {
  Oracle oracle(kSchema, {});
  auto view =
      oracle.translate("SELECT id, row_number() OVER (PARTITION BY k ORDER BY id) r FROM t");
  ASSERT_TRUE(view);
  oracle.insert("t", "(1, 1, 0), (3, 1, 0), (4, 2, 0), (5, 2, 0)", "1, 3, 4, 5");
  ASSERT_TRUE(oracle.step(**view, 1));
  oracle.next_epoch();
  oracle.insert("t", "(2, 1, 0)", "2");
  ASSERT_TRUE(oracle.step(**view, 2));
  // Row 3 moves, row 2 is new; row 1 and the other partition stand.
  EXPECT_EQ((*view)->rows,
            (std::map<std::string, int64_t>{
                {"1 | 1", 1}, {"2 | 2", 1}, {"3 | 3", 1}, {"4 | 1", 1}, {"5 | 2", 1}}));
  EXPECT_EQ((*view)->changes, 3u);
}

TEST(Windows, WhatIsRetractedLeavesNoState) {
  Oracle oracle(kSchema, {});
  auto view = oracle.translate("SELECT id, sum(v) OVER (PARTITION BY k ORDER BY id) s FROM t");
  ASSERT_TRUE(view) << view.error().text;
  size_t bytes = 0;
  for (uint64_t round = 0; round < 20; ++round) {
    std::string values, ids;
    for (uint64_t i = 0; i < 300; ++i) {
      const uint64_t id = round * 1000 + i;
      values += fmt::format("{}({}, {}, {})", i == 0 ? "" : ", ", id, id / 2, i % 7);
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

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>

#include "flow/detail/ops_harness.h"

namespace millrace::flow {
namespace {

constexpr const char* kLeft = "CREATE TABLE a(id BIGINT, k INTEGER, ts TIMESTAMP)";
constexpr const char* kRight = "CREATE TABLE b(id BIGINT, k INTEGER, ts TIMESTAMP)";
constexpr const char* kWithin =
    "b.k = a.k AND b.ts BETWEEN a.ts - INTERVAL '5 minutes' AND a.ts + INTERVAL '1 minute'";

class JoinTimeTest : public testing::Test {
 protected:
  JoinTimeTest() : oracle_({kLeft, kRight}, {"a", "b"}) {}

  Oracle::View& view(const std::string& query) {
    auto made = oracle_.translate(query);
    if (!made) throw std::runtime_error(query + ": " + made.error().text);
    views_.push_back(std::move(*made));
    return *views_.back();
  }
  static std::string minute(int at, int seconds = 0) {
    return fmt::format("2024-03-01 {:02}:{:02}:{:02}", at / 60, at % 60, seconds);
  }
  void insert(const std::string& table, int k, const std::string& time) {
    ++id_;
    const auto ts = time.empty() ? "NULL" : "'" + time + "'";
    oracle_.insert(table, fmt::format("({}, {}, {})", id_, k, ts), fmt::format("{}", id_));
  }
  void step() {
    ++epoch_;
    for (auto& view : views_) {
      const auto result = oracle_.step(*view, epoch_);
      ASSERT_TRUE(result) << view->query << ": " << result.error().text;
    }
    oracle_.next_epoch();
  }
  void expect_right() {
    for (auto& view : views_)
      EXPECT_EQ(difference(oracle_.answer(view->query), view->rows), "")
          << view->query << " in epoch " << epoch_;
  }
  static size_t state_rows(const Oracle::View& view) {
    size_t rows = 0;
    for (const auto& op : view.flow->operators())
      if (op.description.find("join") != std::string::npos) rows += op.state_rows;
    return rows;
  }
  /// An hour of rows of both sides, up to two minutes out of order, a few without a time.
  void run_an_hour(size_t state_rows_max) {
    std::mt19937 random(7);
    for (int at = 3; at < 63; ++at) {
      for (const std::string table : {"a", "b"})
        for (int i = 0; i < 8; ++i)
          insert(table, static_cast<int>(random() % 6),
                 random() % 40 == 0 ? ""
                                    : minute(at - static_cast<int>(random() % 3),
                                             static_cast<int>(random() % 60)));
      oracle_.advance("a", "ts", minute(at - 2));
      oracle_.advance("b", "ts", minute(at - 2));
      step();
      if (at % 10 == 0) expect_right();
      for (const auto& view : views_) {
        EXPECT_LE(state_rows(*view), state_rows_max) << view->query << " at minute " << at;
        EXPECT_EQ(view->flow->late_rows(), 0u) << view->query;
      }
    }
    expect_right();
  }
  std::string bound(const Oracle::View& view, size_t column) {
    for (const auto& frontier : view.frontiers)
      if (frontier.column == column)
        return duckdb::Timestamp::ToString(duckdb::timestamp_t(frontier.time_us));
    return {};
  }

  Oracle oracle_;
  std::vector<std::unique_ptr<Oracle::View>> views_;
  int id_ = 0;
  uint64_t epoch_ = 0;
};

TEST_F(JoinTimeTest, AnIntervalJoinOfAnyKindForgetsWhatNoLaterRowCanJoin) {
  for (const std::string kind : {"JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"})
    view(fmt::format("SELECT a.id, a.ts, b.id, b.ts FROM a {} b ON {}", kind, kWithin));
  view(fmt::format("SELECT a.id, a.ts FROM a SEMI JOIN b ON {}", kWithin));
  view(fmt::format("SELECT a.id, a.ts FROM a ANTI JOIN b ON {}", kWithin));
  view(fmt::format("SELECT a.id FROM a WHERE EXISTS (SELECT 1 FROM b WHERE {})", kWithin));
  for (auto& one : views_)
    EXPECT_NE(one->flow->describe().find("interval "), std::string::npos) << one->flow->describe();
  run_an_hour(320);  // of 960
}

TEST_F(JoinTimeTest, IntervalsAreReadInEveryForm) {
  const char* forms[] = {
      "a.k = b.k AND a.ts >= b.ts AND a.ts < b.ts + INTERVAL '3 minutes'",
      "a.k = b.k AND b.ts - INTERVAL '3 minutes' <= a.ts AND INTERVAL '1 minute' + b.ts > a.ts",
      "a.ts BETWEEN b.ts AND b.ts + INTERVAL '20 seconds'",
      "a.k = b.k AND a.ts - b.ts BETWEEN INTERVAL '-1 minute' AND INTERVAL '2 minutes'",
      "b.ts - a.ts >= INTERVAL '0 seconds' AND INTERVAL '30 seconds' > b.ts - a.ts"};
  for (const std::string form : forms) {
    view("SELECT a.id, b.id FROM a JOIN b ON " + form);
    view("SELECT a.id, b.id FROM a, b WHERE " + form);
    view("SELECT a.id, b.id FROM a LEFT JOIN b ON " + form);
  }
  for (auto& one : views_)
    EXPECT_NE(one->flow->describe().find("interval "), std::string::npos) << one->query << "\n"
                                                                          << one->flow->describe();
  run_an_hour(200);
}

TEST_F(JoinTimeTest, AJoinOnWindowsForgetsClosedOnes) {
  const std::string windowed =
      "(SELECT *, time_bucket(INTERVAL '10 minutes', ts) AS w, "
      "time_bucket(INTERVAL '10 minutes', ts) + INTERVAL '10 minutes' AS e FROM {})";
  const auto a = fmt::format(fmt::runtime(windowed), "a"),
             b = fmt::format(fmt::runtime(windowed), "b");
  for (const std::string kind : {"JOIN", "LEFT JOIN", "FULL JOIN"})
    view(fmt::format(
        "SELECT a.id, b.id, a.w FROM {} a {} {} b ON a.k = b.k AND a.w = b.w AND a.e = b.e", a,
        kind, b));
  // A side whose rows are taken back.
  view(
      fmt::format("SELECT a.id, m.n FROM {} a JOIN (SELECT w, k, count(*) AS n FROM {} b "
                  "GROUP BY w, k) m ON a.k = m.k AND a.w = m.w",
                  a, b));
  run_an_hour(400);
  EXPECT_EQ(bound(*views_[0], 2), "2024-03-01 01:00:00");
}

TEST_F(JoinTimeTest, EachSideMayBeBoundByColumnsOfItsOwn) {
  // An auction takes bids until it expires: it is forgotten then, and a bid once no auction can
  // begin before it.
  auto& v = view(
      "SELECT x.id, b.id FROM (SELECT *, ts + (k % 3) * INTERVAL '1 minute' AS expires FROM a) x "
      "JOIN b ON x.k = b.k AND b.ts BETWEEN x.ts AND x.expires");
  EXPECT_NE(v.flow->describe().find("interval join"), std::string::npos) << v.flow->describe();
  run_an_hour(130);
}

TEST_F(JoinTimeTest, WhatBoundsTheOutputIsWhatCanStillCome) {
  auto& v = view(fmt::format("SELECT a.ts, b.ts, a.id FROM a JOIN b ON {}", kWithin));
  auto& left = view(fmt::format("SELECT a.ts, b.ts FROM a LEFT JOIN b ON {}", kWithin));
  insert("a", 1, minute(10));
  oracle_.advance("a", "ts", minute(60));
  step();
  EXPECT_EQ(bound(v, 0), "");  // b may still have any row
  oracle_.advance("b", "ts", minute(30));
  step();
  EXPECT_EQ(bound(v, 0), minute(29));  // a row of b at 0:30 joins one of a from 0:29 on
  EXPECT_EQ(bound(v, 1), minute(30));  // one of a at 1:00 joins none of b before 0:55
  EXPECT_EQ(bound(left, 0), minute(29));
  EXPECT_EQ(bound(left, 1), "");  // NULL in a row that stands alone
  oracle_.advance("b", "ts", minute(90));
  step();
  EXPECT_EQ(bound(v, 0), minute(60));
  EXPECT_EQ(bound(v, 1), minute(55));
}

TEST_F(JoinTimeTest, ARowThatMayHaveMissedOthersIsLate) {
  auto& v = view(fmt::format("SELECT a.id, b.id FROM a LEFT JOIN b ON {}", kWithin));
  insert("b", 1, minute(10));
  insert("a", 1, minute(11));
  step();
  EXPECT_EQ(v.rows, oracle_.answer(v.query));
  EXPECT_EQ(state_rows(v), 2u);
  oracle_.advance("a", "ts", minute(30));
  oracle_.advance("b", "ts", minute(30));
  step();
  EXPECT_EQ(state_rows(v), 0u);
  const auto before = v.rows;
  insert("a", 1, minute(12));  // would join the row of b that is forgotten
  insert("b", 1, minute(9));
  step();
  EXPECT_EQ(v.rows, before);
  EXPECT_EQ(v.flow->late_rows(), 2u);
  std::vector<LateRows> late;
  v.flow->take_late(late);
  ASSERT_EQ(late.size(), 2u);
  EXPECT_EQ(late[0].rows->weights.size(), 1u);
  EXPECT_EQ(state_rows(v), 0u);
}

TEST_F(JoinTimeTest, ASideWithoutAWatermarkHoldsTheOther) {
  auto& v = view(fmt::format("SELECT a.id, b.id FROM a JOIN b ON {}", kWithin));
  insert("a", 1, minute(10));
  insert("b", 1, minute(10));
  oracle_.advance("a", "ts", minute(100));
  step();
  EXPECT_EQ(state_rows(v), 1u);  // b's row can join no later row of a; a's may join one of b
  EXPECT_FALSE(v.flow->waits_for_frontier());
  insert("b", 1, minute(9));
  step();
  EXPECT_EQ(v.flow->late_rows(), 0u);
  expect_right();
}

}  // namespace
}  // namespace millrace::flow

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "flow/detail/ops_harness.h"

namespace millrace::flow {
namespace {

constexpr const char* kStream = "CREATE TABLE s(id BIGINT, k INTEGER, ts TIMESTAMP, dt DATE)";
constexpr const char* kOther = "CREATE TABLE o(id BIGINT, k INTEGER, ts TIMESTAMP)";

class FrontierTest : public testing::Test {
 protected:
  FrontierTest() : oracle_({kStream, kOther}, {"s", "o"}) {}

  Oracle::View& view(const std::string& query) {
    auto made = oracle_.translate(query);
    EXPECT_TRUE(made) << made.error().text;
    view_ = std::move(*made);
    return *view_;
  }
  void insert(int64_t id, int k, const std::string& time) {
    oracle_.insert("s", fmt::format("({}, {}, '{}', '{}')", id, k, time, time.substr(0, 10)),
                   fmt::format("{}", id));
  }
  void step() {
    const auto result = oracle_.step(*view_, ++epoch_);
    ASSERT_TRUE(result) << result.error().text;
    oracle_.next_epoch();
  }
  /// The time that bounds the output's column; empty: none.
  std::string bound(size_t column) {
    for (const auto& frontier : view_->frontiers)
      if (frontier.column == column)
        return duckdb::Timestamp::ToString(duckdb::timestamp_t(frontier.time_us));
    return {};
  }

  Oracle oracle_;
  std::unique_ptr<Oracle::View> view_;
  uint64_t epoch_ = 0;
};

TEST_F(FrontierTest, PassesThroughWhatRisesWithTheColumn) {
  view(
      "SELECT ts, time_bucket(INTERVAL '1 hour', ts) b, date_trunc('day', ts) d, "
      "ts + INTERVAL '90 minutes' p, ts - INTERVAL '1 day' m, ts::DATE dd, "
      "ts + INTERVAL '1 month' mm, k, -epoch_us(ts) falls FROM s WHERE k > 0");
  oracle_.advance("s", "ts", "2024-03-01 10:30:00");
  step();
  EXPECT_EQ(bound(0), "2024-03-01 10:30:00");
  EXPECT_EQ(bound(1), "2024-03-01 10:00:00");
  EXPECT_EQ(bound(2), "2024-03-01 00:00:00");
  EXPECT_EQ(bound(3), "2024-03-01 12:00:00");
  EXPECT_EQ(bound(4), "2024-02-29 10:30:00");
  EXPECT_EQ(bound(5), "2024-03-01 00:00:00");
  EXPECT_EQ(bound(6), "");  // adding months keeps no order
  EXPECT_EQ(bound(7), "");
  EXPECT_EQ(bound(8), "");
}

TEST_F(FrontierTest, OfAUnionIsTheLowerOfBoth) {
  view("SELECT ts, k FROM s UNION ALL SELECT ts, k FROM o");
  oracle_.advance("s", "ts", "2024-03-01 10:30:00");
  step();
  EXPECT_EQ(bound(0), "");
  oracle_.advance("o", "ts", "2024-03-01 09:00:00");
  step();
  EXPECT_EQ(bound(0), "2024-03-01 09:00:00");
}

TEST_F(FrontierTest, OfAJoinHoldsForTheTimesThatItComparesOnly) {
  view("SELECT s.ts, o.k FROM s JOIN o ON s.k = o.k");
  oracle_.advance("s", "ts", "2024-03-01 10:30:00");
  oracle_.advance("o", "ts", "2024-03-01 09:00:00");
  step();
  EXPECT_EQ(bound(0), "");  // a new row of o may still join an old row of s
  view("SELECT s.ts, o.k FROM s JOIN o ON s.ts = o.ts");
  step();
  EXPECT_EQ(bound(0), "2024-03-01 09:00:00");
}

TEST_F(FrontierTest, OfAWindowedViewIsThatOfItsWindows) {
  view("SELECT time_bucket(INTERVAL '1 hour', ts) w, count(*) FROM s GROUP BY w");
  oracle_.advance("s", "ts", "2024-03-01 10:30:00");
  step();
  EXPECT_EQ(bound(0), "2024-03-01 10:00:00");
}

TEST_F(FrontierTest, ClosesWindowsBelowAndLeavesLateRowsOut) {
  auto& v = view(
      "SELECT time_bucket(INTERVAL '1 hour', ts) w, k, count(*) n, list(id) l FROM s "
      "GROUP BY ALL");
  insert(1, 1, "2024-03-01 09:10:00");
  insert(2, 1, "2024-03-01 10:10:00");
  oracle_.advance("s", "ts", "2024-03-01 10:05:00");
  step();
  EXPECT_EQ(difference(oracle_.answer(v.query), v.rows), "");
  EXPECT_EQ(v.flow->late_rows(), 0u);

  const auto before = v.rows;
  insert(3, 1, "2024-03-01 09:20:00");  // its window is closed
  insert(4, 2, "2024-03-01 08:20:00");  // there never was such a group
  step();
  EXPECT_EQ(v.rows, before);
  EXPECT_EQ(v.flow->late_rows(), 2u);

  insert(5, 1, "2024-03-01 10:01:00");  // behind the frontier, but its window is open
  step();
  EXPECT_EQ(v.rows.at("2024-03-01 10:00:00 | 1 | 2 | [2, 5]"), 1);
  EXPECT_EQ(v.rows.at("2024-03-01 09:00:00 | 1 | 1 | [1]"), 1);  // stays for ever
  EXPECT_EQ(v.flow->late_rows(), 2u);
}

TEST_F(FrontierTest, AcceptsRowsOfTheEpochThatAdvancesIt) {
  auto& v = view("SELECT dt, count(*) n FROM s GROUP BY dt");
  insert(1, 1, "2024-03-01 09:10:00");
  insert(2, 1, "2024-03-03 09:10:00");
  oracle_.advance("s", "dt", "2024-03-02 00:00:00");
  step();
  EXPECT_EQ(difference(oracle_.answer(v.query), v.rows), "");
  insert(3, 1, "2024-03-01 09:10:00");
  oracle_.insert("s", "(4, 1, NULL, NULL)", "4");  // a NULL is never late
  step();
  EXPECT_EQ(v.flow->late_rows(), 1u);
  EXPECT_EQ(v.rows.at("NULL | 1"), 1);
  EXPECT_EQ(v.rows.at("2024-03-01 | 1"), 1);
}

TEST_F(FrontierTest, BoundsTheStateOfAWindowedView) {
  auto& v = view(
      "SELECT time_bucket(INTERVAL '1 minute', ts) w, k % 50 g, count(*), "
      "list(DISTINCT id), string_agg(id::VARCHAR, ',') FROM s GROUP BY ALL");
  size_t early = 0;
  for (int minute = 0; minute < 300; ++minute) {
    const auto time = fmt::format("2024-03-01 {:02}:{:02}:00", minute / 60, minute % 60);
    oracle_.run("DELETE FROM s");
    std::string values, ids;
    for (int i = 0; i < 60; ++i) {
      values += fmt::format("{}({}, {}, '{}', NULL)", i ? "," : "", minute * 60 + i, i, time);
      ids += fmt::format("{}{}", i ? "," : "", minute * 60 + i);
    }
    oracle_.insert("s", values, ids);
    oracle_.advance("s", "ts", time);
    step();
    if (minute == 100) early = v.flow->state_bytes();
  }
  EXPECT_EQ(v.rows.size(), 300u * 50);
  EXPECT_LE(v.flow->state_bytes(), early + early / 2 + (4u << 20));
}

}  // namespace
}  // namespace millrace::flow

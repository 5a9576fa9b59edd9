#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>

#include "flow/detail/ops_harness.h"

namespace millrace::flow {
namespace {

constexpr const char* kStream = "CREATE TABLE s(id BIGINT, k INTEGER, ts TIMESTAMP)";

/// Queries that keep rows by PARTITION BY over windows.
const std::vector<std::string> kPartitioned = {
    "SELECT * FROM (SELECT id, k, time_bucket(INTERVAL '10 minutes', ts) AS w, row_number() OVER "
    "(PARTITION BY time_bucket(INTERVAL '10 minutes', ts), k ORDER BY id DESC) AS n FROM s) WHERE "
    "n "
    "<= 2",
    "SELECT DISTINCT ON (w, k) w, k, id FROM (SELECT *, time_bucket(INTERVAL '10 minutes', ts) AS "
    "w "
    "FROM s) ORDER BY w, k, id",
    "SELECT w, id, rank() OVER (PARTITION BY w ORDER BY id), lag(id) OVER (PARTITION BY w ORDER BY "
    "id) FROM (SELECT *, time_bucket(INTERVAL '10 minutes', ts) AS w FROM s)",
    // Over rows that are taken back.
    "SELECT w, k, n FROM (SELECT w, k, n, row_number() OVER (PARTITION BY w ORDER BY n DESC, k) AS "
    "place FROM (SELECT time_bucket(INTERVAL '10 minutes', ts) AS w, k, count(*) AS n FROM s GROUP "
    "BY ALL)) WHERE place <= 3"};

class ClosingTest : public testing::Test {
 protected:
  ClosingTest() : oracle_({kStream}, {"s"}) {
    for (const auto& query : kPartitioned) {
      auto made = oracle_.translate(query);
      if (!made) throw std::runtime_error(query + ": " + made.error().text);
      views_.push_back(std::move(*made));
    }
  }
  static std::string minute(int at) {
    return fmt::format("2024-03-01 {:02}:{:02}:00", at / 60, at % 60);
  }
  void insert(int k, const std::string& time) {
    ++id_;
    oracle_.insert("s",
                   fmt::format("({}, {}, {})", id_, k, time.empty() ? "NULL" : "'" + time + "'"),
                   fmt::format("{}", id_));
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
      EXPECT_EQ(difference(oracle_.answer(view->query), view->rows), "") << view->query;
  }
  static size_t state_rows(const Oracle::View& view) {
    size_t rows = 0;
    for (const auto& op : view.flow->operators()) rows += op.state_rows;
    return rows;
  }

  Oracle oracle_;
  std::vector<std::unique_ptr<Oracle::View>> views_;
  int id_ = 0;
  uint64_t epoch_ = 0;
};

TEST_F(ClosingTest, PartitionsOfClosedWindowsAreForgotten) {
  std::mt19937 random(11);
  for (int at = 3; at < 63; ++at) {
    for (int i = 0; i < 8; ++i)
      insert(static_cast<int>(random() % 5),
             random() % 40 == 0 ? "" : minute(at - static_cast<int>(random() % 3)));
    oracle_.advance("s", "ts", minute(at - 2));
    step();
    if (at % 10 == 0) expect_right();
    for (const auto& view : views_)
      EXPECT_LE(state_rows(*view), 150u) << view->query << at;  // of 480
  }
  expect_right();
  for (const auto& view : views_) {
    EXPECT_EQ(view->flow->late_rows(), 0u) << view->query;
    ASSERT_FALSE(view->frontiers.empty()) << view->query;
    EXPECT_EQ(duckdb::Timestamp::ToString(duckdb::timestamp_t(view->frontiers[0].time_us)),
              minute(60));
  }
}

TEST_F(ClosingTest, ARowForAClosedPartitionIsLate) {
  insert(1, minute(5));
  insert(1, minute(15));
  oracle_.advance("s", "ts", minute(12));
  step();
  expect_right();
  std::vector<std::map<std::string, int64_t>> before;
  for (const auto& view : views_) before.push_back(view->rows);
  insert(1, minute(9));
  step();
  for (size_t i = 0; i < views_.size(); ++i) {
    EXPECT_EQ(views_[i]->rows, before[i]) << views_[i]->query;
    EXPECT_EQ(views_[i]->flow->late_rows(), 1u) << views_[i]->query;
  }
}

}  // namespace
}  // namespace millrace::flow

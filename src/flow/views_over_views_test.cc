#include <gtest/gtest.h>

#include "flow/detail/test_node.h"

namespace millrace::flow {
namespace {

using testing::TestNode;
using testing::TestRecord;
using testing::TextRows;

constexpr const char* kEvents =
    "CREATE TOPIC events (id INTEGER, ts TIMESTAMP, WATERMARK FOR ts AS ts) WITH "
    "(watermark_idle_timeout = 'never')";
constexpr const char* kMinutes =
    "CREATE MATERIALIZED VIEW minutes AS SELECT window_start AS w, count(*) AS n FROM "
    "TUMBLE(events, ts, INTERVAL '1 minute') GROUP BY window_start";
constexpr const char* kTens =
    "CREATE MATERIALIZED VIEW tens AS SELECT window_start AS w, sum(n)::BIGINT AS n FROM "
    "TUMBLE(minutes, w, INTERVAL '10 minutes') GROUP BY window_start EMIT ON WINDOW CLOSE";

TestRecord event(int minute) {
  return {std::nullopt, fmt::format(R"({{"id":{},"ts":"2024-03-01T{:02}:{:02}:30"}})", minute,
                                    minute / 60, minute % 60)};
}
TextRows tens(int count) {
  TextRows rows;
  for (int i = 0; i < count; ++i)
    rows.push_back({fmt::format("2024-03-01 {:02}:{:02}:00", i * 10 / 60, i * 10 % 60), "10"});
  return rows;
}
uint64_t state_rows(TestNode& node, const std::string& view) {
  uint64_t rows = 0;
  for (const auto& status : node.flows->status())
    for (const auto& op : status.operators)
      if (status.name == view) rows += op.state_rows;
  return rows;
}

TEST(ViewsOverViews, WindowsOverAViewsWindowsClose) {
  for (const std::string emit : {"", " EMIT ON WINDOW CLOSE"}) {
    io::TestEnv env;
    int minute = 0;
    for (int start = 0; start < 3; ++start) {
      TestNode node(env);
      if (start == 0) {
        node.run(kEvents);
        node.run(kMinutes + emit);
        node.run(kTens);
      }
      for (const int until = minute + 45; minute < until; ++minute) {
        node.must_produce("events", {event(minute)});
        node.view("minutes");
        node.view("tens");
      }
      // The last event's minute is open, and so what it bounds.
      EXPECT_EQ(node.view("tens"), tens((minute - 1) / 10)) << emit;
      EXPECT_LE(state_rows(node, "tens"), 12u);
    }
    TestNode node(env);
    for (const auto& record : node.consume("tens"))
      for (const auto& [name, value] : record.headers) EXPECT_EQ(name, "epoch") << *record.value;
  }
}

TEST(ViewsOverViews, AViewWithoutABoundNeverCloses) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kEvents);
  node.run(
      "CREATE MATERIALIZED VIEW minutes AS SELECT id AS n, min(ts) AS w FROM events GROUP BY id");
  const auto refused = node.try_run(kTens);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text.find("no watermark bounds a column"), std::string::npos)
      << refused.error().text;
}

}  // namespace
}  // namespace millrace::flow

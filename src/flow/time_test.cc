
#include "flow/detail/test_node.h"

namespace millrace::flow {
namespace {

using testing::TestNode;
using testing::TestRecord;
using testing::TextRows;

constexpr int64_t kStartMs = 1'700'000'000'000;  // the clock when a TestEnv begins

constexpr const char* kEvents =
    "CREATE TOPIC events (id INTEGER, k INTEGER, ts TIMESTAMP, WATERMARK FOR ts AS ts) "
    "WITH (partitions = 2, watermark_idle_timeout = '20s')";
constexpr const char* kPerMinute =
    "SELECT window_start AS w, k, count(*) AS n FROM TUMBLE(events, ts, INTERVAL '1 minute') "
    "GROUP BY window_start, k";

/// An event of 10 o'clock and so many seconds.
TestRecord event(int id, int k, int seconds) {
  return {std::nullopt, fmt::format(R"({{"id":{},"k":{},"ts":"2024-03-01T10:{:02}:{:02}"}})", id, k,
                                    seconds / 60, seconds % 60)};
}

TEST(Time, WindowsCloseByTheClockWhenInputStops) {
  io::TestEnv env;
  const TextRows first{{"2024-03-01 10:00:00", "1", "2"}};
  TextRows both = first;
  both.push_back({"2024-03-01 10:01:00", "1", "1"});
  {
    TestNode node(env);
    node.run(kEvents);
    node.run(fmt::format("CREATE MATERIALIZED VIEW closed AS {} EMIT ON WINDOW CLOSE", kPerMinute));
    node.must_produce("events", {event(1, 1, 0), event(2, 1, 20)}, 0);
    EXPECT_EQ(node.view("closed"), TextRows());
    // Until the timeout the other partition, which has said nothing, might still speak. Then all
    // are idle, and the watermark is as far behind the clock as it was: 40 s after 10:00:20.
    env.set_now_ms(kStartMs + 39'000);
    EXPECT_EQ(node.view("closed"), TextRows());
    env.set_now_ms(kStartMs + 40'000);
    expect_soon(node, "SELECT * FROM closed", first);
    node.must_produce("events", {event(3, 1, 70), event(4, 1, 5)}, 1);  // the second is late
    EXPECT_EQ(node.view("closed"), first);
  }
  // The time that the node was away does not count as silence.
  env.set_now_ms(kStartMs + 1'000'000);
  TestNode node(env);
  EXPECT_EQ(node.view("closed"), first);
  env.set_now_ms(kStartMs + 1'000'000 + 49'000);
  EXPECT_EQ(node.view("closed"), first);
  env.set_now_ms(kStartMs + 1'000'000 + 50'000);
  expect_soon(node, "SELECT * FROM closed", both);
  for (const auto& record : node.consume("closed"))
    for (const auto& [name, value] : record.headers) EXPECT_EQ(name, "epoch") << *record.value;
}

TEST(Time, WhatTheClockClosedIsClosedAfterARestart) {
  io::TestEnv env;
  const TextRows first{{"2024-03-01 10:00:00", "1", "1"}};
  {
    TestNode node(env);
    node.run(kEvents);
    node.run(fmt::format("CREATE MATERIALIZED VIEW counts AS {}", kPerMinute));
    node.run(fmt::format("CREATE MATERIALIZED VIEW closed AS {} EMIT ON WINDOW CLOSE", kPerMinute));
    node.must_produce("events", {event(1, 1, 20)}, 0);
    EXPECT_EQ(node.view("counts"), first);  // EMIT CHANGES: at once
    EXPECT_EQ(node.view("closed"), TextRows());
    env.set_now_ms(kStartMs + 60'000);
    expect_soon(node, "SELECT * FROM closed", first);
    // Both views were told of the same silence; now the row is late for both.
    node.must_produce("events", {event(2, 1, 30)}, 0);
    EXPECT_EQ(node.view("closed"), first);
  }
  TestNode node(env);
  EXPECT_EQ(node.view("closed"), first);
}

TEST(Time, AnIdlePartitionHoldsNothingBack) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kEvents);
  node.run(fmt::format("CREATE MATERIALIZED VIEW closed AS {} EMIT ON WINDOW CLOSE", kPerMinute));
  node.must_produce("events", {event(1, 1, 10)}, 0);
  node.must_produce("events", {event(2, 1, 15)}, 1);
  EXPECT_EQ(node.view("closed"), TextRows());
  env.set_now_ms(kStartMs + 19'000);
  node.must_produce("events", {event(3, 1, 100)}, 1);
  EXPECT_EQ(node.view("closed"), TextRows());
  env.set_now_ms(kStartMs + 20'000);
  expect_soon(node, "SELECT * FROM closed", {{"2024-03-01 10:00:00", "1", "2"}});
}

TEST(Time, AllowedLatenessKeepsWindowsOpen) {
  io::TestEnv env;
  TestNode node(env);
  node.run(
      "CREATE TOPIC events (id INTEGER, k INTEGER, ts TIMESTAMP, WATERMARK FOR ts AS ts) WITH "
      "(watermark_idle_timeout = 'never')");
  node.run(fmt::format("CREATE MATERIALIZED VIEW strict AS {} EMIT ON WINDOW CLOSE", kPerMinute));
  node.run(
      fmt::format("CREATE MATERIALIZED VIEW patient WITH (allowed_lateness = '10s') AS {} "
                  "EMIT ON WINDOW CLOSE",
                  kPerMinute));
  node.must_produce("events", {event(1, 1, 10), event(2, 1, 65)});
  EXPECT_EQ(node.view("strict"), (TextRows{{"2024-03-01 10:00:00", "1", "1"}}));
  EXPECT_EQ(node.view("patient"), TextRows());
  node.must_produce("events", {event(3, 1, 50)});
  EXPECT_EQ(node.view("patient"), TextRows());
  node.must_produce("events", {event(4, 1, 70)});
  EXPECT_EQ(node.view("patient"), (TextRows{{"2024-03-01 10:00:00", "1", "2"}}));
  EXPECT_EQ(node.view("strict"), (TextRows{{"2024-03-01 10:00:00", "1", "1"}}));
}

TEST(Time, EmitOnWindowCloseNeedsAColumnThatCloses) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kEvents);
  const auto refused = node.try_run(
      "CREATE MATERIALIZED VIEW v AS SELECT k, count(*) AS n FROM events GROUP BY k EMIT ON WINDOW "
      "CLOSE");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kNotSupported);
  EXPECT_NE(refused.error().text.find("no watermark bounds a column"), std::string::npos)
      << refused.error().text;
  EXPECT_EQ(node.flows->find("v"), nullptr);
}

TEST(Time, RowsWithoutWindowsComeOutInTheOrderOfTime) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kEvents);
  node.run("CREATE MATERIALIZED VIEW sorted AS SELECT ts, id FROM events EMIT ON WINDOW CLOSE");
  node.must_produce("events", {event(1, 1, 30), event(2, 1, 10), event(3, 1, 20)}, 0);
  node.must_produce("events", {event(4, 1, 25)}, 1);
  node.view("sorted");
  env.set_now_ms(kStartMs + 3'600'000);
  expect_soon(node, "SELECT count(*) AS n FROM sorted", {{"4"}});
  std::string ids;
  for (const auto& record : node.consume("sorted"))
    if (record.headers.empty()) ids += record.value->substr(record.value->find("id") + 4, 1);
  EXPECT_EQ(ids, "2341");
}

/// What `<view>.late` holds: value, watermark, weight's header if any.
TextRows late_records(TestNode& node, const std::string& view) {
  TextRows rows;
  for (const auto& record : node.consume(view + ".late")) {
    auto& row = rows.emplace_back();
    row.push_back(*record.value);
    for (const auto& [name, value] : record.headers)
      if (name != "place") row.push_back(name + "=" + value);
  }
  return rows;
}

TEST(Time, LateRowsAreCountedAndKeptOnce) {
  io::TestEnv env;
  {
    TestNode node(env);
    node.run(
        "CREATE TOPIC events (id INTEGER, k INTEGER, ts TIMESTAMP, WATERMARK FOR ts AS ts) WITH "
        "(watermark_idle_timeout = 'never')");
    node.run(fmt::format("CREATE MATERIALIZED VIEW v AS {}", kPerMinute));
    node.run(fmt::format("CREATE MATERIALIZED VIEW d WITH (late = 'drop') AS {}", kPerMinute));
    node.must_produce("events", {event(1, 1, 10), event(2, 1, 120)});
    node.view("v");
    node.view("d");
    EXPECT_EQ(node.broker->find("v.late"), nullptr);
    env.set_now_ms(kStartMs + 5'000);
    node.must_produce("events", {event(3, 7, 30), event(4, 8, 40), event(5, 1, 121)});
    node.view("v");
    node.view("d");
    auto late = late_records(node, "v");
    ASSERT_EQ(late.size(), 2u);
    std::ranges::sort(late);  // they come share by share
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_NE(late[i][0].find(i == 0 ? R"("k":7)" : R"("k":8)"), std::string::npos) << late[i][0];
      EXPECT_EQ(late[i][1], "watermark=2024-03-01 10:02:01");
      EXPECT_EQ(late[i][2], "view=v");
    }
    EXPECT_EQ(node.broker->find("d.late"), nullptr);
    for (const auto& status : node.flows->status()) {
      EXPECT_EQ(status.late_rows, 2u) << status.name;
      EXPECT_EQ(status.late_seen_ms, kStartMs + 5'000) << status.name;
      EXPECT_EQ(status.late_topic.has_value(), status.name == "v");
    }
  }
  const auto again = [&] {
    TestNode node(env);
    node.view("v");
    for (const auto& status : node.flows->status()) EXPECT_EQ(status.late_rows, 2u) << status.name;
    return late_records(node, "v");
  };
  EXPECT_EQ(again().size(), 2u);
  EXPECT_EQ(again().size(), 2u);  // however often the epochs are computed again
}

TEST(Time, HoppingWindowsCloseOneByOne) {
  io::TestEnv env;
  TestNode node(env);
  node.run(
      "CREATE TOPIC events (id INTEGER, k INTEGER, ts TIMESTAMP, WATERMARK FOR ts AS ts) WITH "
      "(watermark_idle_timeout = 'never')");
  node.run(
      "CREATE MATERIALIZED VIEW hops AS SELECT window_start AS w, count(*) AS n FROM HOP(events, "
      "ts, INTERVAL '1 minute', INTERVAL '2 minutes') GROUP BY window_start EMIT ON WINDOW CLOSE");
  node.must_produce("events", {event(1, 1, 150), event(2, 1, 185)});
  EXPECT_EQ(node.view("hops"), (TextRows{{"2024-03-01 10:01:00", "1"}}));
  node.must_produce("events", {event(3, 1, 300)});
  EXPECT_EQ(node.view("hops"), (TextRows{{"2024-03-01 10:01:00", "1"},
                                         {"2024-03-01 10:02:00", "2"},
                                         {"2024-03-01 10:03:00", "1"}}));
}

TEST(Time, CumulatingWindowsCloseOneByOne) {
  io::TestEnv env;
  TestNode node(env);
  node.run(
      "CREATE TOPIC events (id INTEGER, k INTEGER, ts TIMESTAMP, WATERMARK FOR ts AS ts) WITH "
      "(watermark_idle_timeout = 'never')");
  node.run(
      "CREATE MATERIALIZED VIEW v AS SELECT window_end AS w, count(*) AS n FROM CUMULATE(events, "
      "ts, INTERVAL '1 minute', INTERVAL '3 minutes') GROUP BY window_start, window_end EMIT ON "
      "WINDOW CLOSE");
  node.must_produce("events", {event(1, 1, 30), event(2, 1, 70), event(3, 1, 125)});
  EXPECT_EQ(node.view("v"), (TextRows{{"2024-03-01 10:01:00", "1"}, {"2024-03-01 10:02:00", "2"}}));
  node.must_produce("events", {event(4, 1, 190)});
  EXPECT_EQ(node.view("v"), (TextRows{{"2024-03-01 10:01:00", "1"},
                                      {"2024-03-01 10:02:00", "2"},
                                      {"2024-03-01 10:03:00", "3"}}));
}

/// Rows that the operator whose description begins so keeps.
uint64_t state_rows(TestNode& node, const std::string& view, const std::string& what) {
  for (const auto& status : node.flows->status())
    for (const auto& op : status.operators)
      if (status.name == view && op.description.starts_with(what)) return op.state_rows;
  ADD_FAILURE() << "no " << what << " in " << view;
  return 0;
}

TEST(Time, SessionsCloseOneByOneAndTheirRowsGo) {
  io::TestEnv env;
  const TextRows first{{"1", "2024-03-01 10:00:00", "2024-03-01 10:00:50", "2"},
                       {"2", "2024-03-01 10:00:10", "2024-03-01 10:00:40", "1"}};
  const auto then = [&] {
    auto rows = first;
    rows.push_back({"1", "2024-03-01 10:00:25", "2024-03-01 10:00:55", "1"});
    rows.push_back({"2", "2024-03-01 10:00:40", "2024-03-01 10:01:50", "4"});
    std::ranges::sort(rows);
    return rows;
  }();
  {
    TestNode node(env);
    node.run(
        "CREATE TOPIC events (id INTEGER, k INTEGER, ts TIMESTAMP, WATERMARK FOR ts AS ts) WITH "
        "(watermark_idle_timeout = 'never')");
    node.run(
        "CREATE MATERIALIZED VIEW v AS SELECT k, window_start AS s, window_end AS e, count(*) AS n "
        "FROM SESSION(events, ts, INTERVAL '30 seconds', k) GROUP BY k, window_start, window_end "
        "EMIT ON WINDOW CLOSE");
    node.must_produce("events", {event(1, 1, 20), event(2, 1, 0), event(3, 2, 10)});
    EXPECT_EQ(node.view("v"), TextRows());
    EXPECT_EQ(state_rows(node, "v", "sessions"), 3u);
    node.must_produce("events", {event(4, 2, 51)});
    EXPECT_EQ(node.view("v"), first);
    EXPECT_EQ(state_rows(node, "v", "sessions"), 1u);
    // The first comes too late for any session; of the next one can be made; two bridge to k 2's.
    node.must_produce("events", {event(5, 3, 15), event(6, 1, 25), event(7, 2, 40)});
    EXPECT_EQ(node.view("v"), first);
    node.must_produce("events", {event(8, 2, 80), event(9, 2, 65)});
    node.view("v");
    node.must_produce("events", {event(10, 9, 300)});
    EXPECT_EQ(node.view("v"), then);
    EXPECT_EQ(state_rows(node, "v", "sessions"), 1u);
    const auto status = node.flows->status().at(0);
    EXPECT_EQ(status.late_rows, 1u);
  }
  TestNode node(env);
  EXPECT_EQ(node.view("v"), then);
  EXPECT_EQ(state_rows(node, "v", "sessions"), 1u);
}

}  // namespace
}  // namespace millrace::flow

#include <thread>

#include "flow/detail/test_node.h"

namespace millrace::flow {
namespace {

using testing::expect_soon;
using testing::Oracle;
using testing::TestNode;
using testing::TestRecord;
using testing::TextRows;

void produce(TestNode& node, int from, int until) {
  std::vector<TestRecord> records;
  for (int id = from; id < until; ++id)
    records.push_back({std::nullopt, fmt::format(R"({{"id":{}}})", id)});
  node.must_produce("events", records);
}

std::string state_of(TestNode& node, const std::string& view) {
  for (const auto& status : node.flows->status())
    if (status.name == view) return status.state;
  return "gone";
}

std::string error_of(TestNode& node, const std::string& sql) {
  auto done = node.try_run(sql);
  return done ? "none" : done.error().text;
}

TEST(ViewLife, APausedViewStandsStillThroughARestart) {
  io::TestEnv env;
  {
    TestNode node(env);
    node.run("CREATE TOPIC events (id INTEGER)");
    node.run("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM events");
    produce(node, 0, 10);
    EXPECT_EQ(node.view("v"), (TextRows{{"10"}}));
    node.run("ALTER MATERIALIZED VIEW v PAUSE");
    EXPECT_EQ(state_of(node, "v"), "paused");
    produce(node, 10, 30);
    EXPECT_EQ(node.run("SHOW CREATE v"),
              (TextRows{{"CREATE MATERIALIZED VIEW v AS\nSELECT count(*) AS n FROM events"}}));
    EXPECT_EQ(node.run("APPLY CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM events"),
              (TextRows{{"unchanged", "materialized view", "v"}}));
  }
  TestNode node(env);
  ASSERT_EQ(node.failures, std::vector<std::string>());
  EXPECT_EQ(node.run("SELECT * FROM v"), (TextRows{{"10"}}));
  EXPECT_EQ(state_of(node, "v"), "paused");
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(node.run("SELECT * FROM v"), (TextRows{{"10"}}));
  node.run("ALTER MATERIALIZED VIEW v RESUME");
  EXPECT_EQ(node.view("v"), (TextRows{{"30"}}));
  EXPECT_EQ(state_of(node, "v"), "live");
  EXPECT_EQ(error_of(node, "ALTER MATERIALIZED VIEW none PAUSE"),
            "there is no materialized view of that name");
  EXPECT_EQ(error_of(node, "ALTER SINK v PAUSE"), "there is no sink of that name");
}

TEST(ViewLife, WhatReadsAnObjectGoesWithItOnlyWhenAsked) {
  io::TestEnv env;
  TestNode node(env);
  node.run("CREATE TOPIC events (id INTEGER)");
  node.run("CREATE MATERIALIZED VIEW a AS SELECT id FROM events");
  node.run("CREATE MATERIALIZED VIEW b AS SELECT count(*) AS n FROM a");
  node.run("CREATE SINK s AS SELECT id FROM events");
  node.run("CREATE MATERIALIZED VIEW on_sink AS SELECT count(*) AS n FROM s");
  EXPECT_EQ(error_of(node, "DROP MATERIALIZED VIEW a"),
            "materialized view \"a\" cannot be dropped: b reads it");
  EXPECT_EQ(error_of(node, "DROP TOPIC events RESTRICT"),
            "topic \"events\" cannot be dropped: a, s read it");
  node.run("DROP MATERIALIZED VIEW a CASCADE");
  EXPECT_EQ(node.run("SHOW VIEWS").size(), 1u);
  node.run("DROP TOPIC events CASCADE");
  EXPECT_EQ(node.run("SHOW ALL"), TextRows());
  EXPECT_TRUE(node.broker->list().empty());
  EXPECT_TRUE(node.flows->status().empty());
}

TEST(ViewLife, WhatReadsAPausedViewRunsOn) {
  io::TestEnv env;
  {
    TestNode node(env);
    node.run("CREATE TOPIC events (id INTEGER)");
    node.run("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM events");
    node.run(
        "CREATE MATERIALIZED VIEW w AS SELECT count(*) AS n, (SELECT max(n) FROM v) AS seen FROM "
        "events");
    produce(node, 0, 10);
    EXPECT_EQ(node.view("w"), (TextRows{{"10", "10"}}));
    node.run("ALTER MATERIALIZED VIEW v PAUSE");
    produce(node, 10, 30);
    expect_soon(node, "SELECT * FROM w", {{"30", "10"}});
  }
  TestNode node(env);
  produce(node, 30, 31);
  expect_soon(node, "SELECT * FROM w", {{"31", "10"}});
  EXPECT_EQ(state_of(node, "v"), "paused");
  EXPECT_EQ(state_of(node, "w"), "live");
  node.run("ALTER MATERIALIZED VIEW v RESUME");
  expect_soon(node, "SELECT * FROM w", {{"31", "31"}});
}

/// DuckDB's answer, or "error".
TextRows answer_or_error(const std::vector<int>& values) {
  duckdb::DuckDB instance(nullptr);
  duckdb::Connection connection(instance);
  connection.Query("CREATE TABLE a (id INTEGER); INSERT INTO a VALUES (1), (2)");
  connection.Query("CREATE TABLE b (w INTEGER)");
  for (const int value : values) connection.Query(fmt::format("INSERT INTO b VALUES ({})", value));
  auto result = connection.Query("SELECT id, (SELECT w FROM b) AS w FROM a ORDER BY id");
  if (result->HasError()) return {{"error"}};
  TextRows rows;
  for (size_t r = 0; r < result->RowCount(); ++r)
    rows.push_back({result->GetValue(0, r).ToString(), result->GetValue(1, r).ToString()});
  return rows;
}

TEST(ViewLife, AScalarSubqueryThatGivesSeveralRowsFollowsOnError) {
  io::TestEnv env;
  TestNode node(env);
  node.run("CREATE TABLE a (id INTEGER PRIMARY KEY)");
  node.run("CREATE TABLE b (w INTEGER PRIMARY KEY)");
  for (const std::string how : {"dead_letter", "skip", "stop"})
    node.run("CREATE MATERIALIZED VIEW v_" + how + " WITH (on_error = '" + how +
             "') AS SELECT id, (SELECT w FROM b) AS w FROM a");
  node.run("INSERT INTO a VALUES (1), (2)");
  const auto expect_both = [&](const std::vector<int>& values) {
    auto expected = answer_or_error(values);
    if (expected == TextRows{{"error"}}) expected.clear();
    EXPECT_EQ(node.view("v_dead_letter"), expected) << values.size();
    EXPECT_EQ(node.view("v_skip"), expected) << values.size();
    return expected;
  };
  EXPECT_EQ(expect_both({}).size(), 2u);  // NULL for each
  node.run("INSERT INTO b VALUES (10)");
  EXPECT_EQ(expect_both({10}).size(), 2u);
  EXPECT_EQ(node.view("v_stop").size(), 2u);
  node.run("INSERT INTO b VALUES (20)");
  EXPECT_EQ(expect_both({10, 20}).size(), 0u);
  const auto letters = node.consume("v_dead_letter.dead_letter");
  ASSERT_FALSE(letters.empty());
  const auto& headers = letters[0].headers;
  EXPECT_TRUE(std::ranges::any_of(headers, [](const auto& header) {
    return header.second.find("More than one row returned by a subquery") != std::string::npos;
  }));
  EXPECT_FALSE(node.broker->find("v_skip.dead_letter"));
  while (state_of(node, "v_stop") != "failed")
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_NE(error_of(node, "SELECT * FROM v_stop").find("More than one row returned"),
            std::string::npos);
  node.run("DELETE FROM b WHERE w = 10");
  EXPECT_EQ(expect_both({20}).size(), 2u);
}

}  // namespace
}  // namespace millrace::flow

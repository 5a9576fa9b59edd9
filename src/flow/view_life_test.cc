#include <thread>

#include "flow/detail/test_node.h"

namespace millrace::flow {
namespace {

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

}  // namespace
}  // namespace millrace::flow

#include <atomic>
#include <random>
#include <thread>

#include "flow/detail/test_node.h"

// CREATE OR REPLACE MATERIALIZED VIEW: the view before goes on until the new one has caught up.

namespace millrace::flow {
namespace {

using testing::Oracle;
using testing::TestNode;
using testing::TestRecord;
using testing::TextRows;

constexpr const char* kTopic =
    "CREATE TOPIC events (id INTEGER, word VARCHAR) WITH (partitions = 2)";
constexpr const char* kPerDigit = "SELECT id % 10 AS k, count(*) AS n FROM events GROUP BY 1";
constexpr const char* kPerDozen = "SELECT id % 12 AS k, count(*) AS n FROM events GROUP BY 1";
/// Stops at its first row, and so never takes the place of another.
constexpr const char* kStuck =
    "CREATE OR REPLACE MATERIALIZED VIEW v WITH (on_error = 'stop') AS "
    "SELECT word::INTEGER AS k, id AS n FROM events";

std::string replace_by(const std::string& query) {
  return "CREATE OR REPLACE MATERIALIZED VIEW v AS " + query;
}

void produce(TestNode& node, int from, int until) {
  std::vector<TestRecord> records[2];
  for (int id = from; id < until; ++id)
    records[id % 2].push_back(
        {std::nullopt, fmt::format(R"({{"id":{},"word":"w{}"}})", id, id % 7)});
  for (size_t p = 0; p < 2; ++p)
    if (!records[p].empty()) node.must_produce("events", records[p], p);
}

TextRows answer(const std::string& query, int until) {
  Oracle oracle;
  oracle.run(fmt::format(
      "CREATE TABLE events AS SELECT i::INTEGER AS id, 'w' || i % 7 AS word FROM range({}) t(i)",
      until));
  return oracle.run(query);
}

void await_failure(TestNode& node) {
  while (node.status("v").error.empty()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

std::string error_of(TestNode& node, const std::string& sql) {
  auto done = node.try_run(sql);
  return done ? "none" : done.error().text;
}

/// How many views have state on the disk.
size_t snapshot_folders(io::TestEnv& env) {
  return env.files().exists("/data/views") ? env.files().list("/data/views").value().size() : 0;
}

TEST(Replace, UnderLoadEveryAnswerIsWhole) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kTopic);
  produce(node, 0, 60'000);
  node.run(std::string("CREATE MATERIALIZED VIEW v AS ") + kPerDigit);
  ASSERT_EQ(node.view("v"), answer(kPerDigit, 60'000));
  std::atomic<bool> done = false;
  std::atomic<int> produced = 60'000;
  std::thread producer([&] {
    for (int at = produced; !done || at < 70'000; at += 500) {
      produce(node, at, at + 500);
      produced = at + 500;
    }
  });
  node.run(replace_by(kPerDozen));
  int64_t before = 60'000;
  size_t groups = 10;
  while (!done) {
    done = node.status("v").state != "replacing";  // the last look comes after the change
    const auto rows = node.run("SELECT n FROM v");
    int64_t sum = 0;
    for (const auto& row : rows) sum += std::stoll(row[0]);
    EXPECT_GE(sum, before);  // nothing that was seen is taken back
    EXPECT_GE(rows.size(), groups);
    EXPECT_TRUE(rows.size() == 10 || rows.size() == 12) << rows.size();
    before = sum;
    groups = rows.size();
  }
  producer.join();
  EXPECT_EQ(groups, 12u);
  EXPECT_EQ(node.view("v"), answer(kPerDozen, produced));
}

TEST(Replace, TheNewOneHasOtherColumnsAndComesBackAfterARestart) {
  io::TestEnv env;
  Flows::Options options;
  options.snapshot_interval = std::chrono::milliseconds(0);
  const std::string wider = "SELECT word, id % 2 AS odd, count(*) AS n FROM events GROUP BY ALL";
  {
    TestNode node(env, options);
    node.run(kTopic);
    produce(node, 0, 1'000);
    node.run(std::string("CREATE MATERIALIZED VIEW v AS ") + kPerDigit);
    node.view("v");
    for (const auto& query : {std::string(kPerDozen), wider}) {
      node.run(replace_by(query));
      node.await_replacement("v");
      EXPECT_EQ(node.view("v"), answer(query, 1'000));
    }
    produce(node, 1'000, 1'500);
    EXPECT_EQ(node.view("v"), answer(wider, 1'500));
    node.run("CREATE MATERIALIZED VIEW w AS SELECT sum(n) AS n FROM v");
    EXPECT_EQ(node.view("w"), (TextRows{{"1500"}}));
  }
  TestNode node(env, options);
  ASSERT_EQ(node.failures, std::vector<std::string>());
  produce(node, 1'500, 2'000);
  EXPECT_EQ(node.view("v"), answer(wider, 2'000));
  EXPECT_EQ(node.view("w"), (TextRows{{"2000"}}));
  EXPECT_EQ(node.broker->list().size(), 3u);
  EXPECT_EQ(snapshot_folders(env), 2u);  // those of what was replaced are gone
  node.run("DROP MATERIALIZED VIEW v CASCADE");
  EXPECT_EQ(snapshot_folders(env), 0u);
}

TEST(Replace, TheOldOneServesWhileTheNewOneIsNotThere) {
  io::TestEnv env;
  {
    TestNode node(env);
    node.run(kTopic);
    produce(node, 0, 100);
    node.run(std::string("CREATE MATERIALIZED VIEW v AS ") + kPerDigit);
    node.run(kStuck);
    await_failure(node);
  }
  TestNode node(env);
  ASSERT_EQ(node.failures, std::vector<std::string>());
  await_failure(node);
  produce(node, 100, 200);
  EXPECT_EQ(node.view("v"), answer(kPerDigit, 200));
  const auto status = node.status("v");
  EXPECT_EQ(status.state, "replacing");
  EXPECT_NE(status.error.find("its replacement: view v has stopped"), std::string::npos)
      << status.error;
  EXPECT_EQ(status.rows, 10u);
  EXPECT_GT(status.lag, 0);
  EXPECT_EQ(node.flows->status().size(), 1u);
  // Another one supersedes it, one that cannot be kept up changes nothing.
  EXPECT_NE(error_of(node, replace_by("SELECT random() AS k, 1 AS n FROM events")), "none");
  EXPECT_EQ(node.status("v").state, "replacing");
  node.run(replace_by(kPerDozen));
  node.await_replacement("v");
  EXPECT_EQ(node.status("v").error, "");
  EXPECT_EQ(node.view("v"), answer(kPerDozen, 200));
  // The definition that it has ends it, and so does DROP.
  node.run(kStuck);
  await_failure(node);
  node.run(replace_by(kPerDozen));
  EXPECT_EQ(node.status("v").error, "");
  node.run(kStuck);
  node.run("DROP MATERIALIZED VIEW v");
  EXPECT_EQ(node.status("v").state, "gone");
  EXPECT_EQ(node.broker->list().size(), 1u);
  EXPECT_EQ(snapshot_folders(env), 0u);
}

TEST(Replace, AViewThatHasStoppedIsReplacedToo) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kTopic);
  produce(node, 0, 100);
  node.run(
      "CREATE MATERIALIZED VIEW v WITH (on_error = 'stop') AS "
      "SELECT word::INTEGER AS k, id AS n FROM events");
  await_failure(node);
  node.run(replace_by(kPerDigit));
  node.await_replacement("v");
  EXPECT_EQ(node.view("v"), answer(kPerDigit, 100));
  EXPECT_EQ(node.status("v").state, "live");
}

TEST(Replace, ACrashAtAnyMomentLeavesOneOfTheTwo) {
  std::random_device random;
  io::TestEnv env;
  auto node = std::make_unique<TestNode>(env);
  node->run(kTopic);
  produce(*node, 0, 5'000);
  node->run(std::string("CREATE MATERIALIZED VIEW v AS ") + kPerDigit);
  node->view("v");
  for (int round = 0; round < 12; ++round) {
    const std::string query = round % 2 == 0 ? kPerDozen : kPerDigit;
    node->run(replace_by(query));
    std::this_thread::sleep_for(std::chrono::milliseconds(20 * round));
    env.files().forget_unsynced(random());
    node.reset();
    node = std::make_unique<TestNode>(env);
    ASSERT_EQ(node->failures, std::vector<std::string>()) << round;
    const auto rows = node->view("v");
    EXPECT_TRUE(rows == answer(kPerDigit, 5'000) || rows == answer(kPerDozen, 5'000)) << round;
    node->await_replacement("v");
    EXPECT_EQ(node->view("v"), answer(query, 5'000)) << round;
    EXPECT_EQ(node->broker->list().size(), 2u) << round;
  }
}

}  // namespace
}  // namespace millrace::flow

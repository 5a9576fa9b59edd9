#include <random>
#include <thread>

#include "flow/detail/test_node.h"

namespace millrace::flow {
namespace {

using testing::Oracle;
using testing::TestNode;
using testing::TestRecord;
using testing::TextRows;

constexpr const char* kQueries[] = {
    "SELECT shop, count(*) AS n, sum(amount) AS amount, max(amount) AS most FROM sales GROUP BY 1",
    "SELECT town, shop, count(*) AS n FROM sales LEFT JOIN shops USING (shop) GROUP BY ALL",
    "SELECT id, amount * 2 AS twice FROM sales WHERE amount > 90",
};
constexpr const char* kOnView = "SELECT n % 10 AS digit, count(*) AS shops FROM v0 GROUP BY ALL";

void create_all(TestNode& node) {
  node.run("CREATE TOPIC sales (id INTEGER, shop VARCHAR, amount INTEGER) WITH (partitions = 2)");
  node.run("CREATE TABLE shops (shop VARCHAR PRIMARY KEY, town VARCHAR)");
  node.run("INSERT INTO shops VALUES ('s0', 'Ulm'), ('s1', 'Ulm'), ('s2', 'Bern')");
  for (int i = 0; i < 3; ++i)
    node.run(fmt::format("CREATE MATERIALIZED VIEW v{} AS {}", i, kQueries[i]));
  node.run(std::string("CREATE MATERIALIZED VIEW v3 AS ") + kOnView);
}

void expect_oracle(TestNode& node, Oracle& oracle) {
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(node.view(fmt::format("v{}", i)), oracle.run(kQueries[i])) << i;
  EXPECT_EQ(node.view("v3"), oracle.run(kOnView));
}

void prepare(Oracle& oracle) {
  oracle.run("CREATE TABLE sales (id INTEGER, shop VARCHAR, amount INTEGER)");
  oracle.run("CREATE TABLE shops (shop VARCHAR, town VARCHAR)");
  oracle.run("INSERT INTO shops VALUES ('s0', 'Ulm'), ('s1', 'Ulm'), ('s2', 'Bern')");
  oracle.run(std::string("CREATE VIEW v0 AS ") + kQueries[0]);
}

std::vector<TestRecord> sales(int from, int until) {
  std::vector<TestRecord> records;
  for (int id = from; id < until; ++id)
    records.push_back({std::nullopt, fmt::format(R"({{"id":{},"shop":"s{}","amount":{}}})", id,
                                                 id % 7, id % 100)});
  return records;
}

void record(Oracle& oracle, int from, int until) {
  oracle.run(fmt::format(
      "INSERT INTO sales SELECT i, 's' || (i % 7), i % 100 FROM range({}, {}) t(i)", from, until));
}

TEST(Recovery, ViewsComeBackAndGoOn) {
  io::TestEnv env;
  Oracle oracle;
  prepare(oracle);
  std::vector<size_t> changelog;
  {
    TestNode node(env);
    create_all(node);
    node.must_produce("sales", sales(0, 5000), 0);
    record(oracle, 0, 5000);
    expect_oracle(node, oracle);
  }
  for (int round = 1; round < 4; ++round) {
    TestNode node(env);
    EXPECT_EQ(node.failures, std::vector<std::string>());
    expect_oracle(node, oracle);
    node.must_produce("sales", sales(round * 5000, round * 5000 + 3000), round % 2);
    record(oracle, round * 5000, round * 5000 + 3000);
    expect_oracle(node, oracle);
  }
}

/// Crashes while records come and epochs are committed: what was acked is there once, and every
/// view is the answer over it.
class Crash : public ::testing::TestWithParam<uint64_t> {};

TEST_P(Crash, AckedRecordsCountOnceInEveryView) {
  io::TestEnv env;
  Oracle oracle;
  prepare(oracle);
  std::mt19937_64 random(GetParam());
  int next = 0;
  {
    TestNode node(env);
    create_all(node);
  }
  for (int life = 0; life < 5; ++life) {
    TestNode node(env);
    ASSERT_EQ(node.failures, std::vector<std::string>());
    const int batches = 1 + random() % 12;
    for (int b = 0; b < batches; ++b) {
      const int count = 1 + random() % 800;
      node.must_produce("sales", sales(next, next + count), random() % 2);
      record(oracle, next, next + count);
      next += count;
      if (random() % 4 == 0) node.view("v1");
      if (random() % 3 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(random() % 12));
    }
    env.files().forget_unsynced(random());
  }
  TestNode node(env);
  ASSERT_EQ(node.failures, std::vector<std::string>());
  expect_oracle(node, oracle);
}

INSTANTIATE_TEST_SUITE_P(Seeds, Crash, ::testing::Range<uint64_t>(1, 9));

/// Events of random times, some far too late.
std::vector<TestRecord> events(std::mt19937_64& random, int64_t around_s) {
  std::vector<TestRecord> records;
  for (int i = 0; i < 40; ++i) {
    const bool late = random() % 8 == 0;
    const int64_t at =
        std::max<int64_t>(around_s + static_cast<int64_t>(random() % 20) - (late ? 500 : 0), 0);
    records.push_back({std::nullopt, fmt::format(R"({{"at_time":"{}","n":1}})",
                                                 duckdb::Timestamp::ToString(
                                                     duckdb::timestamp_t(at * 1'000'000)))});
  }
  return records;
}

TEST(Recovery, LateRowsAreLateAgain) {
  io::TestEnv env;
  std::mt19937_64 random(3);
  TextRows before;
  std::string late;
  const auto late_rows = [](TestNode&, io::TestEnv& of) {
    const auto text = of.metrics().render();
    const auto at = text.find("millrace_flow_late_rows{");
    return text.substr(at, text.find('\n', at) - at);
  };
  int64_t now_s = 1000;
  {
    TestNode node(env);
    node.run(
        "CREATE TOPIC events (at_time TIMESTAMP, n INTEGER, WATERMARK FOR at_time AS at_time - "
        "INTERVAL '10 "
        "seconds') WITH (partitions = 2)");
    node.run(
        "CREATE MATERIALIZED VIEW windows AS SELECT window_start, count(*) AS n FROM "
        "TUMBLE(events, at_time, INTERVAL '30 seconds') GROUP BY window_start, window_end");
    for (int round = 0; round < 60; ++round) {
      now_s += 10;
      node.must_produce("events", events(random, now_s), round % 2);
      if (random() % 3 == 0) node.view("windows");
      env.set_now_ms(env.now_ms() + 1'000);
    }
    before = node.view("windows");
    late = late_rows(node, env);
    EXPECT_EQ(late.find("} 0"), std::string::npos) << late << ": none came late";
  }
  TestNode node(env);
  EXPECT_EQ(node.view("windows"), before);
  EXPECT_EQ(late_rows(node, env), late);
}

TEST(Recovery, AViewWhoseInputsAreGoneSaysSo) {
  io::TestEnv env;
  Oracle oracle;
  prepare(oracle);
  Flows::Options options;
  options.snapshot_interval = std::nullopt;  // which would make the history needless
  {
    TestNode node(env, options);
    create_all(node);
    node.must_produce("sales", sales(0, 500));
    record(oracle, 0, 500);
    expect_oracle(node, oracle);
    const auto log = node.broker->find("sales")->partitions.at(0);
    ASSERT_TRUE(log->shard().block_on(log->delete_records(100)));
  }
  TestNode node(env);
  const auto read = node.try_run("SELECT * FROM v0");
  ASSERT_FALSE(read);
  EXPECT_NE(read.error().text.find("create it anew"), std::string::npos) << read.error().text;
  node.run("DROP MATERIALIZED VIEW v2");
  node.run(std::string("CREATE MATERIALIZED VIEW v2 AS ") + kQueries[2]);
  oracle.run("DELETE FROM sales WHERE id < 100");
  EXPECT_EQ(node.view("v2"), oracle.run(kQueries[2]));
}

TEST(Recovery, RowsThatNoCommitFollowsAreCutOff) {
  io::TestEnv env;
  Oracle oracle;
  prepare(oracle);
  {
    TestNode node(env);
    create_all(node);
    node.must_produce("sales", sales(0, 500));
    record(oracle, 0, 500);
    expect_oracle(node, oracle);
    node.flows->stop();
    // As a crash leaves it that tore an epoch's append between two batches.
    node.must_produce("v0", {{std::nullopt, R"({"shop":"s9","n":1,"amount":1,"most":1})"},
                             {std::nullopt, R"({"shop":"s8","n":1,"amount":1,"most":1})"}});
    node.must_produce("v0", {{std::nullopt, R"({"shop":"s7","n":1,"amount":1,"most":1})"}});
  }
  TestNode node(env);
  EXPECT_EQ(node.failures, std::vector<std::string>());
  expect_oracle(node, oracle);
  for (const auto& record : node.consume("v0"))
    EXPECT_EQ(record.value->find(R"("s9")"), std::string::npos) << *record.value;
}

}  // namespace
}  // namespace millrace::flow

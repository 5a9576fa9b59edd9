#include <map>
#include <random>
#include <thread>

#include "flow/detail/sink_writer.h"
#include "flow/detail/test_node.h"

namespace millrace::flow {
namespace {

using testing::Oracle;
using testing::TestNode;
using testing::TestRecord;
using testing::TextRows;

std::string error_of(TestNode& node, const std::string& sql) {
  auto done = node.try_run(sql);
  return done ? "none" : done.error().text;
}

/// The sink's records once it has written everything.
std::vector<TestNode::Kept> written(TestNode& node, const std::string& sink, size_t at_least) {
  const auto waited = node.flows->wait_caught_up(sink + ".sink", std::chrono::seconds(60));
  if (!waited) ADD_FAILURE() << waited.error().text;
  for (int i = 0; i < 2000; ++i) {
    auto records = node.consume(sink);
    if (records.size() >= at_least) return records;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return node.consume(sink);
}

std::string text(const TestNode::Kept& record) {
  return record.key.value_or("-") + " " + record.value.value_or("-");
}

std::vector<std::string> texts(const std::vector<TestNode::Kept>& records) {
  std::vector<std::string> all;
  for (const auto& record : records) all.push_back(text(record));
  return all;
}

void produce_ids(TestNode& node, int from, int until) {
  std::vector<TestRecord> records;
  for (int id = from; id < until; ++id)
    records.push_back({std::nullopt, fmt::format(R"({{"id":{},"shop":"s{}"}})", id, id % 7)});
  node.must_produce("sales", records);
}

TEST(SinkWriter, ValuesAreTakenAsTheyStand) {
  const auto values =
      values_of(R"({"a":1.50,"b,:":"x\"},{:","c":{"d":[1,"]"],"e":null},"f":null})");
  ASSERT_TRUE(values);
  EXPECT_EQ(*values, (std::vector<std::string_view>{"1.50", R"("x\"},{:")",
                                                    R"({"d":[1,"]"],"e":null})", "null"}));
  EXPECT_FALSE(values_of(R"({"a":1,"b)"));
}

TEST(Sink, PlainWritesEachRowOnceAndIsATopicThatSqlReads) {
  io::TestEnv env;
  TestNode node(env);
  node.run("CREATE TOPIC sales (id INTEGER, shop VARCHAR)");
  node.run("CREATE SINK big AS SELECT id, shop FROM sales WHERE id >= 3");
  produce_ids(node, 0, 5);
  EXPECT_EQ(texts(written(node, "big", 2)),
            (std::vector<std::string>{R"(- {"id":3,"shop":"s3"})", R"(- {"id":4,"shop":"s4"})"}));
  EXPECT_EQ(node.run("SELECT * FROM big"), (TextRows{{"3", "s3"}, {"4", "s4"}}));
  EXPECT_EQ(
      node.run("SHOW SINKS"),
      (TextRows{{"big", "plain", "", "SELECT id, shop FROM sales WHERE id >= 3", "", "big"}}));
  EXPECT_EQ(node.run("SHOW CREATE SINK big"),
            (TextRows{{"CREATE SINK big WITH (format = 'plain') AS\n"
                       "SELECT id, shop FROM sales WHERE id >= 3"}}));
  EXPECT_EQ(node.run("APPLY CREATE SINK big AS SELECT id, shop FROM sales WHERE id >= 3"),
            (TextRows{{"unchanged", "sink", "big"}}));
}

TEST(Sink, UpsertWritesTheRowOfEachKeyAndATombstoneWhenItGoes) {
  io::TestEnv env;
  TestNode node(env);
  node.run("CREATE TABLE stock (id INTEGER PRIMARY KEY, shop VARCHAR, n INTEGER)");
  node.run("INSERT INTO stock VALUES (1, 'a', 2), (2, 'a', 3), (3, 'b', 5)");
  node.run(
      "CREATE SINK per_shop WITH (format = 'upsert', key = 'shop') AS "
      "SELECT shop, sum(n)::INTEGER AS n FROM stock GROUP BY shop");
  ASSERT_EQ(written(node, "per_shop", 2).size(), 2u);
  node.run("UPDATE stock SET n = 4 WHERE id = 2");
  ASSERT_EQ(written(node, "per_shop", 3).size(), 3u);
  node.run("DELETE FROM stock WHERE id = 3");
  auto all = texts(written(node, "per_shop", 4));
  std::sort(all.begin(), all.begin() + 2);
  EXPECT_EQ(all, (std::vector<std::string>{
                     R"({"shop":"a"} {"shop":"a","n":5})", R"({"shop":"b"} {"shop":"b","n":5})",
                     R"({"shop":"a"} {"shop":"a","n":6})", R"({"shop":"b"} -)"}));
}

TEST(Sink, DebeziumTellsBeforeAndAfter) {
  io::TestEnv env;
  TestNode node(env);
  node.run("CREATE TABLE stock (id INTEGER PRIMARY KEY, n INTEGER)");
  node.run("CREATE SINK changes WITH (format = 'debezium', key = 'id') AS SELECT id, n FROM stock");
  node.run("INSERT INTO stock VALUES (1, 2)");
  ASSERT_EQ(written(node, "changes", 1).size(), 1u);
  node.run("UPDATE stock SET n = 3");
  ASSERT_EQ(written(node, "changes", 2).size(), 2u);
  node.run("DELETE FROM stock");
  const auto all = texts(written(node, "changes", 3));
  ASSERT_EQ(all.size(), 3u);
  const char* expected[] = {
      R"({"id":1} {"before":null,"after":{"id":1,"n":2},"op":"c","ts_ms":)",
      R"({"id":1} {"before":{"id":1,"n":2},"after":{"id":1,"n":3},"op":"u","ts_ms":)",
      R"({"id":1} {"before":{"id":1,"n":3},"after":null,"op":"d","ts_ms":)"};
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(all[i].starts_with(expected[i])) << all[i];
}

TEST(Sink, WhatItCannotDoIsRefused) {
  io::TestEnv env;
  TestNode node(env);
  node.run("CREATE TOPIC sales (id INTEGER, shop VARCHAR)");
  const std::string counts = " AS SELECT shop, count(*) AS n FROM sales GROUP BY shop";
  const auto plain = error_of(node, "CREATE SINK s" + counts);
  EXPECT_TRUE(plain.find("takes rows back: aggregate") != std::string::npos) << plain;
  EXPECT_EQ(error_of(node, "CREATE SINK s WITH (format = 'upsert')" + counts),
            "a sink of format 'upsert' needs a key");
  EXPECT_EQ(error_of(node, "CREATE SINK s WITH (format = 'upsert', key = 'id')" + counts),
            "the key's column \"id\" is none of the query's");
  EXPECT_EQ(error_of(node, "CREATE SINK s WITH (format = 'avro')" + counts),
            "the sink's format 'avro' is not known");
  EXPECT_EQ(error_of(node, "CREATE SINK s WITH (partitions = 2)" + counts),
            "a sink writes a topic of one partition");
  EXPECT_EQ(error_of(node, "CREATE SINK sales AS SELECT id FROM sales"),
            "topic \"sales\" already exists");
  EXPECT_EQ(error_of(node, "CREATE MATERIALIZED VIEW v WITH (format = 'plain')" + counts),
            "there is no option \"format\" of a materialized view");
  node.run("CREATE SINK s AS SELECT id FROM sales");
  EXPECT_EQ(error_of(node, "CREATE SINK s AS SELECT id FROM sales"), "sink \"s\" already exists");
  EXPECT_EQ(error_of(node, "DROP TOPIC s"), "topic \"s\" cannot be dropped: a sink writes it");
  EXPECT_EQ(error_of(node, "DROP TOPIC sales"), "topic \"sales\" cannot be dropped: s reads it");
  node.run("CREATE MATERIALIZED VIEW on_sink AS SELECT count(*) AS n FROM s");
  EXPECT_EQ(error_of(node, "DROP SINK s"), "topic \"s\" cannot be dropped: on_sink reads it");
  node.run("DROP MATERIALIZED VIEW on_sink");
  node.run("DROP SINK s");
  EXPECT_EQ(error_of(node, "DROP SINK s"), "there is no sink of the topic \"s\"");
  EXPECT_EQ(node.run("SHOW ALL").size(), 1u);
  EXPECT_EQ(node.broker->list().size(), 1u);
}

TEST(Sink, RowsThatShareTheKeyStopIt) {
  io::TestEnv env;
  TestNode node(env);
  node.run("CREATE TOPIC sales (id INTEGER, shop VARCHAR)");
  node.run("CREATE SINK s WITH (format = 'upsert', key = 'shop') AS SELECT * FROM sales");
  produce_ids(node, 0, 8);  // 0 and 7 are of one shop
  ASSERT_TRUE(node.flows->wait_caught_up("s.sink", std::chrono::seconds(60)));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(node.consume("s").size(), 0u);
}

/// Crashes while records come: each result is in the sink's topic once, whether its view comes back
/// from its changelog's start or from a snapshot.
class SinkCrash : public ::testing::TestWithParam<uint64_t> {};

TEST_P(SinkCrash, EachResultIsWrittenOnce) {
  io::TestEnv env;
  Oracle oracle;
  oracle.run("CREATE TABLE sales (id INTEGER, shop VARCHAR)");
  std::mt19937_64 random(GetParam());
  int next = 0;
  {
    TestNode node(env);
    node.run("CREATE TOPIC sales (id INTEGER, shop VARCHAR)");
    node.run("CREATE SINK evens AS SELECT id, id * 2 AS twice FROM sales WHERE id % 2 = 0");
    node.run(
        "CREATE SINK counts WITH (format = 'upsert', key = 'shop') AS "
        "SELECT shop, count(*) AS n FROM sales GROUP BY shop");
  }
  Flows::Options with_snapshots;
  with_snapshots.snapshot_interval = std::chrono::milliseconds(0);
  const auto options = GetParam() % 2 == 0 ? with_snapshots : Flows::Options();
  for (int life = 0; life < 6; ++life) {
    TestNode node(env, options);
    ASSERT_EQ(node.failures, std::vector<std::string>());
    const int batches = 1 + random() % 10;
    for (int b = 0; b < batches; ++b) {
      const int count = 1 + random() % 500;
      produce_ids(node, next, next + count);
      next += count;
      if (random() % 3 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(random() % 12));
    }
    if (GetParam() % 2 == 0) {
      ASSERT_TRUE(node.flows->wait_caught_up("counts.sink", std::chrono::seconds(60)));
      while (!env.files().exists("/data/views"))
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    env.files().forget_unsynced(random());
  }
  TestNode node(env, options);
  ASSERT_EQ(node.failures, std::vector<std::string>());
  std::vector<std::string> expected;
  for (int id = 0; id < next; id += 2)
    expected.push_back(fmt::format(R"(- {{"id":{},"twice":{}}})", id, id * 2));
  EXPECT_EQ(texts(written(node, "evens", expected.size())), expected);
  // The last record of each key is the answer, and no change stands there twice.
  std::map<std::string, std::string> last, wanted;
  for (int shop = 0; shop < 7; ++shop)
    wanted[fmt::format(R"({{"shop":"s{}"}})", shop)] =
        fmt::format(R"({{"shop":"s{}","n":{}}})", shop, (next - shop + 6) / 7);
  const auto changes = [&] {
    last.clear();
    const auto records = written(node, "counts", 7);
    for (const auto& record : records) last[record.key.value()] = record.value.value_or("-");
    return records;
  };
  for (int i = 0; i < 1000 && (changes(), last != wanted); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(last, wanted);
  auto all = texts(changes());
  std::ranges::sort(all);
  EXPECT_EQ(std::ranges::adjacent_find(all), all.end());
}

INSTANTIATE_TEST_SUITE_P(Seeds, SinkCrash, ::testing::Range<uint64_t>(1, 6));

}  // namespace
}  // namespace millrace::flow

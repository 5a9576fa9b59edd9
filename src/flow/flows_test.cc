#include "flow/flows.h"

#include "flow/detail/test_node.h"

namespace millrace::flow {
namespace {

using testing::Oracle;
using testing::TestNode;
using testing::TestRecord;
using testing::TextRows;

std::string sale(int id, const std::string& shop, int amount) {
  return fmt::format(R"({{"id":{},"shop":"{}","amount":{}}})", id, shop, amount);
}

std::vector<TestRecord> sales(int from, int until) {
  std::vector<TestRecord> records;
  for (int id = from; id < until; ++id)
    records.push_back({std::nullopt, sale(id, fmt::format("s{}", id % 7), id % 100)});
  return records;
}

constexpr const char* kSales =
    "CREATE TOPIC sales (id INTEGER, shop VARCHAR, amount INTEGER) WITH (partitions = 2)";
constexpr const char* kByShop =
    "SELECT shop, count(*) AS n, sum(amount) AS amount FROM sales GROUP BY shop";

TEST(Flows, AViewEqualsTheQueryOverWhatTheTopicHolds) {
  io::TestEnv env;
  TestNode node(env);
  Oracle oracle;
  node.run(kSales);
  node.must_produce("sales", sales(0, 5000), 0);
  node.run(std::string("CREATE MATERIALIZED VIEW by_shop AS ") + kByShop);
  node.must_produce("sales", sales(5000, 9000), 1);
  oracle.run(
      "CREATE TABLE sales AS SELECT i::INTEGER AS id, 's' || (i % 7) AS shop, (i % 100)::INTEGER "
      "AS "
      "amount FROM range(9000) t(i)");
  EXPECT_EQ(node.view("by_shop"), oracle.run(kByShop));
  node.must_produce("sales", sales(9000, 9001), 1);
  oracle.run("INSERT INTO sales VALUES (9000, 's5', 0)");
  EXPECT_EQ(node.view("by_shop"), oracle.run(kByShop));
}

double counter(io::TestEnv& env, const std::string& name, const Metrics::Labels& labels) {
  return env.metrics().counter(name, "", labels).value();
}

TEST(Flows, ViewsOfOneTopicShareItsDecoding) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kSales);
  for (int i = 0; i < 10; ++i) node.must_produce("sales", sales(i * 3000, i * 3000 + 3000), i % 2);
  for (const char* name : {"v1", "v2", "v3", "v4"})
    node.run(fmt::format("CREATE MATERIALIZED VIEW {} AS {}", name, kByShop));
  const auto answer = node.view("v1");
  for (const char* name : {"v2", "v3", "v4"}) EXPECT_EQ(node.view(name), answer);
  const double before = counter(env, "millrace_flow_decoded_records_total", {{"topic", "sales"}});
  for (int i = 10; i < 40; ++i) node.must_produce("sales", sales(i * 3000, i * 3000 + 3000), i % 2);
  for (const char* name : {"v1", "v2", "v3", "v4"}) node.view(name);
  const double after = counter(env, "millrace_flow_decoded_records_total", {{"topic", "sales"}});
  // Four views and the dead letters read 90,000 records: once, but for what fell out of the cache.
  EXPECT_LT(after - before, 2 * 90'000);
  EXPECT_GE(after - before, 90'000);
}

TEST(Flows, AViewReadsAViewAndRetractsWhatChanged) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kSales);
  node.run(std::string("CREATE MATERIALIZED VIEW a_by_shop AS ") + kByShop);
  node.run(
      "CREATE MATERIALIZED VIEW b_sizes AS SELECT n // 100 AS hundreds, count(*) AS shops, "
      "max(amount) AS most FROM a_by_shop GROUP BY n // 100");
  Oracle oracle;
  oracle.run("CREATE TABLE sales (id INTEGER, shop VARCHAR, amount INTEGER)");
  oracle.run(std::string("CREATE VIEW a_by_shop AS ") + kByShop);
  for (int i = 0; i < 8; ++i) {
    node.must_produce("sales", sales(i * 300, i * 300 + 300), i % 2);
    oracle.run(
        fmt::format("INSERT INTO sales SELECT i, 's' || (i % 7), i % 100 FROM range({}, {}) t(i)",
                    i * 300, i * 300 + 300));
    EXPECT_EQ(node.view("b_sizes"),
              oracle.run("SELECT n // 100 AS hundreds, count(*) AS shops, max(amount) AS most FROM "
                         "a_by_shop GROUP BY n // 100"));
  }
}

TEST(Flows, ATablesChangeTakesBackWhatTheOldRowGave) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kSales);
  node.run("CREATE TABLE shops (shop VARCHAR PRIMARY KEY, town VARCHAR)");
  node.run("INSERT INTO shops VALUES ('s0', 'Ulm'), ('s1', 'Ulm'), ('s2', 'Bern')");
  node.run(
      "CREATE MATERIALIZED VIEW towns AS SELECT town, count(*) AS n FROM sales JOIN shops USING "
      "(shop) GROUP BY town");
  node.must_produce("sales", sales(0, 700));
  EXPECT_EQ(node.view("towns"), (TextRows{{"Bern", "100"}, {"Ulm", "200"}}));
  node.run("UPDATE shops SET town = 'Bern' WHERE shop = 's1'");
  EXPECT_EQ(node.view("towns"), (TextRows{{"Bern", "200"}, {"Ulm", "100"}}));
  node.run("DELETE FROM shops WHERE shop = 's0'");
  EXPECT_EQ(node.view("towns"), (TextRows{{"Bern", "200"}}));
  node.run("INSERT INTO shops VALUES ('s3', 'Graz')");
  EXPECT_EQ(node.view("towns"), (TextRows{{"Bern", "200"}, {"Graz", "100"}}));
}

TEST(Flows, EqualRowsStandAsOftenAsTheyCame) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kSales);
  node.run("CREATE MATERIALIZED VIEW shops AS SELECT shop FROM sales");
  node.run(
      "CREATE MATERIALIZED VIEW shops_again AS SELECT shop, count(*) AS n FROM shops GROUP BY "
      "shop");
  node.must_produce("sales", sales(0, 7000));
  node.view("shops");
  EXPECT_EQ(node.run("SELECT count(*) AS n, count(DISTINCT shop) AS d FROM shops"),
            (TextRows{{"7000", "7"}}));
  const auto again = node.view("shops_again");
  ASSERT_EQ(again.size(), 7);
  for (const auto& row : again) EXPECT_EQ(row[1], "1000");
}

TEST(Flows, AViewThatFailsSaysWhyAndOthersGoOn) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kSales);
  node.run(
      "CREATE MATERIALIZED VIEW bad WITH (on_error = 'stop') AS SELECT id, CAST(shop AS INTEGER) "
      "AS x FROM sales");
  node.run(std::string("CREATE MATERIALIZED VIEW good AS ") + kByShop);
  node.must_produce("sales", sales(0, 70));
  EXPECT_EQ(node.view("good").size(), 7);
  const auto waited = node.flows->wait_caught_up("bad", std::chrono::seconds(60));
  ASSERT_FALSE(waited);
  EXPECT_NE(waited.error().text.find("view bad has stopped"), std::string::npos);
  const auto read = node.try_run("SELECT * FROM bad");
  ASSERT_FALSE(read);
  EXPECT_NE(read.error().text.find("s0"), std::string::npos) << read.error().text;
  EXPECT_NE(env.metrics().render().find("millrace_flow_failed{view=\"bad\"} 1"), std::string::npos);
}

TEST(Flows, AViewOfNothingHasItsRowsFromTheStart) {
  io::TestEnv env;
  TestNode node(env);
  Oracle oracle;
  node.run(kSales);
  node.run(
      "CREATE MATERIALIZED VIEW how_many AS SELECT count(*) AS n, sum(amount) AS a FROM sales");
  node.run("CREATE MATERIALIZED VIEW answer AS SELECT 42 AS answer");
  oracle.run("CREATE TABLE sales (id INTEGER, shop VARCHAR, amount INTEGER)");
  // They take in nothing, so there is no input to be caught up with: their first epoch is waited
  // for.
  const auto eventually = [&](const std::string& view, const TextRows& rows) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (node.view(view) != rows && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_EQ(node.view(view), rows);
  };
  eventually("how_many", oracle.run("SELECT count(*) AS n, sum(amount) AS a FROM sales"));
  eventually("answer", oracle.run("SELECT 42 AS answer"));
}

TEST(Flows, AJoinThatWouldTakeAllMemoryStopsItsViewAlone) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kSales);
  node.run(
      "CREATE MATERIALIZED VIEW pairs AS SELECT count(*) AS n FROM sales a, sales b, sales c "
      "WHERE a.id + b.id = c.id");
  node.run(std::string("CREATE MATERIALIZED VIEW by_shop AS ") + kByShop);
  node.must_produce("sales", sales(0, 4000), 0);
  EXPECT_EQ(node.view("by_shop").size(), 7u);
  auto stopped = node.flows->wait_caught_up("pairs", std::chrono::seconds(60));
  ASSERT_FALSE(stopped);
  EXPECT_NE(stopped.error().text.find("rows in one epoch"), std::string::npos)
      << stopped.error().text;
}

TEST(Flows, ADroppedViewLetsItsInputsGo) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kSales);
  node.run(std::string("CREATE MATERIALIZED VIEW by_shop AS ") + kByShop);
  node.must_produce("sales", sales(0, 70));
  node.view("by_shop");
  node.run("DROP MATERIALIZED VIEW by_shop");
  EXPECT_EQ(node.flows->find("by_shop"), nullptr);
  EXPECT_FALSE(node.try_run("SELECT * FROM by_shop"));
  node.run(std::string("CREATE MATERIALIZED VIEW by_shop AS ") + kByShop);
  EXPECT_EQ(node.view("by_shop").size(), 7);
}

TEST(Flows, PartitionsThatAreAddedAreReadToo) {
  io::TestEnv env;
  TextRows answer;
  {
    TestNode node(env);
    node.run(kSales);
    node.run(std::string("CREATE MATERIALIZED VIEW by_shop AS ") + kByShop);
    node.must_produce("sales", sales(0, 70), 1);
    node.view("by_shop");
    auto object = node.broker->find("sales")->object;
    object.partitions = 4;
    auto grown = node.runtime.shard(0).block_on(node.broker->create(object, true, false));
    ASSERT_TRUE(grown) << grown.error().text;
    node.must_produce("sales", sales(70, 140), 3);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    const auto seven_twenties = [&](const TextRows& rows) {
      return std::ranges::all_of(rows, [](const auto& row) { return row[1] == "20"; });
    };
    do {
      answer = node.run("SELECT * FROM by_shop");
    } while (!seven_twenties(answer) && std::chrono::steady_clock::now() < deadline);
    EXPECT_TRUE(seven_twenties(answer));
    // The view that was computed again is the one that is measured.
    EXPECT_NE(env.metrics().render().find("millrace_flow_rows{view=\"by_shop\"} 7"),
              std::string::npos);
  }
  TestNode node(env);
  EXPECT_EQ(node.view("by_shop"), answer);
}

TEST(Flows, AChangelogIsRowsAndCommits) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kSales);
  node.run("CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM sales");
  node.must_produce("sales", sales(0, 3));
  EXPECT_EQ(node.view("n"), (TextRows{{"3"}}));
  const auto records = node.consume("n");
  ASSERT_GE(records.size(), 3);
  EXPECT_EQ(records[0].headers, (decltype(records[0].headers){{"epoch", "0"}}));
  EXPECT_NE(records[0].value->find(R"("inputs":{"sales":[[0,0,0],[1,0,0]]})"), std::string::npos)
      << *records[0].value;
  EXPECT_EQ(*records.back().value->rbegin(), '}');
  EXPECT_EQ(records.back().headers.at(0).first, "epoch");
  EXPECT_EQ(records[records.size() - 2].value, R"({"n":3})");
}

}  // namespace
}  // namespace millrace::flow

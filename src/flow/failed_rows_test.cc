#include <random>
#include <thread>

#include "flow/detail/test_node.h"

namespace millrace::flow {
namespace {

using testing::Oracle;
using testing::TestNode;
using testing::TestRecord;
using testing::TextRows;

/// Value and reason of each letter.
std::vector<std::pair<std::string, std::string>> letters(TestNode& node, const std::string& view) {
  std::vector<std::pair<std::string, std::string>> all;
  for (const auto& letter : node.consume(view + ".dead_letter")) {
    std::string reason;
    for (const auto& [key, value] : letter.headers)
      if (key == "reason") reason = value;
    all.emplace_back(letter.value.value_or("-"), reason);
  }
  return all;
}

void produce(TestNode& node, int from, int until) {
  std::vector<TestRecord> records;
  for (int id = from; id < until; ++id)
    records.push_back({std::nullopt, fmt::format(R"({{"id":{},"text":"{}"}})", id,
                                                 id % 5 == 3 ? "x" : std::to_string(id))});
  node.must_produce("events", records);
}

TEST(FailedRows, GoToTheDeadLettersAndTheOthersGoOn) {
  io::TestEnv env;
  TestNode node(env);
  node.run("CREATE TOPIC events (id INTEGER, text VARCHAR)");
  node.run("CREATE MATERIALIZED VIEW v AS SELECT id, text::INTEGER AS n FROM events WHERE id < 50");
  node.run(
      "CREATE MATERIALIZED VIEW skipping WITH (on_error = 'skip') AS "
      "SELECT sum(text::INTEGER) AS n FROM events");
  node.run(
      "CREATE MATERIALIZED VIEW stopping WITH (on_error = 'stop') AS "
      "SELECT 10 // (id - 4) AS n, text::INTEGER AS t FROM events");
  produce(node, 0, 3000);
  Oracle oracle;
  oracle.run(
      "CREATE TABLE events AS SELECT i AS id, i::VARCHAR AS text FROM range(3000) t(i) "
      "WHERE i % 5 <> 3");
  EXPECT_EQ(node.view("v"), oracle.run("SELECT id, text::INTEGER FROM events WHERE id < 50"));
  EXPECT_EQ(node.view("skipping"), oracle.run("SELECT sum(text::INTEGER) FROM events"));
  const auto set_aside = letters(node, "v");
  ASSERT_EQ(set_aside.size(), 10u);
  EXPECT_EQ(set_aside[0].first, R"({"id":3,"text":"x"})");
  EXPECT_NE(set_aside[0].second.find("Could not convert string 'x' to INT32"), std::string::npos)
      << set_aside[0].second;
  EXPECT_FALSE(node.broker->find("skipping.dead_letter"));
  const auto stopped = node.flows->wait_caught_up("stopping", std::chrono::seconds(60));
  ASSERT_FALSE(stopped);
  EXPECT_NE(stopped.error().text.find("in the row {\"id\":3,\"text\":\"x\"}"), std::string::npos)
      << stopped.error().text;
  const auto wrong =
      node.try_run("CREATE MATERIALIZED VIEW w WITH (on_error = 'reject') AS SELECT 1 AS a");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().text, "on_error = 'reject' is not known");
}

TEST(FailedRows, WhatIsTakenBackFailsAsItDidWhenItCame) {
  io::TestEnv env;
  TestNode node(env);
  node.run("CREATE TABLE items (id INTEGER PRIMARY KEY, text VARCHAR, shop INTEGER)");
  node.run("CREATE TABLE shops (shop VARCHAR PRIMARY KEY, least INTEGER)");
  const std::string sums =
      "SELECT shop, sum(text::INTEGER) AS n, count(*) AS c FROM items GROUP BY shop";
  const std::string joined =
      "SELECT i.id, s.least FROM items i JOIN shops s ON i.shop = s.shop::INTEGER AND i.id // "
      "s.least >= 0";
  const std::string elements = "SELECT id, unnest([text::INTEGER, id]) AS e FROM items";
  node.run("CREATE MATERIALIZED VIEW sums AS " + sums);
  node.run("CREATE MATERIALIZED VIEW joined AS " + joined);
  node.run("CREATE MATERIALIZED VIEW elements AS " + elements);
  node.run("INSERT INTO shops VALUES ('1', 10), ('2', 0), ('none', 1)");
  node.run("INSERT INTO items VALUES (1, '10', 1), (2, 'two', 1), (3, '30', 2), (4, '40', 1)");
  Oracle oracle;
  oracle.run("CREATE TABLE items (id INTEGER, text VARCHAR, shop INTEGER)");
  oracle.run("CREATE TABLE shops (shop VARCHAR, least INTEGER)");
  oracle.run("INSERT INTO shops VALUES ('1', 10)");
  const auto check = [&](const std::string& good) {
    oracle.run("DELETE FROM items");
    oracle.run("INSERT INTO items VALUES " + good);
    EXPECT_EQ(node.view("sums"), oracle.run(sums));
    EXPECT_EQ(node.view("joined"), oracle.run("SELECT id, 10 FROM items WHERE shop = 1"));
    EXPECT_EQ(node.view("elements"), oracle.run(elements));
  };
  EXPECT_EQ(node.view("sums"), oracle.run("SELECT * FROM (VALUES (1, 50, 2), (2, 30, 1))"));
  const auto before = letters(node, "sums").size();
  EXPECT_EQ(before, 1u);
  node.run("UPDATE items SET text = '20' WHERE id = 2");
  check("(1, '10', 1), (2, '20', 1), (3, '30', 2), (4, '40', 1)");
  node.run("UPDATE items SET text = 'one' WHERE id = 1");
  node.run("DELETE FROM items WHERE id = 1");
  node.run("UPDATE items SET text = 'three' WHERE id = 3");
  node.run("UPDATE items SET text = '33' WHERE id = 3");
  check("(2, '20', 1), (3, '33', 2), (4, '40', 1)");
  // A change that came and went within one epoch may fail and leave no trace.
  EXPECT_LE(letters(node, "sums").size(), before + 2);
  const auto of_joins = letters(node, "joined");
  const auto reasons = [&](const std::string& text) {
    return std::ranges::count_if(of_joins, [&](const auto& letter) {
      return letter.second.find(text) != std::string::npos;
    });
  };
  EXPECT_GE(reasons("Could not convert string 'none'"), 1);
}

TEST(FailedRows, AreLeftOutOfWindowsAndOrders) {
  io::TestEnv env;
  TestNode node(env);
  node.run("CREATE TOPIC events (id INTEGER, text VARCHAR)");
  const std::string queries[] = {
      "SELECT id, sum(text::INTEGER) OVER (PARTITION BY id % 3 ORDER BY id) AS n FROM events",
      "SELECT id, lag(id) OVER (ORDER BY text::INTEGER DESC) AS before FROM events",
      "SELECT id, count(*) FILTER (text::INTEGER > 20) OVER (PARTITION BY id % 2) AS n FROM events",
      "SELECT id FROM events ORDER BY text::INTEGER DESC LIMIT 7",
      "SELECT DISTINCT ON (id % 4) id FROM events ORDER BY id % 4, text::INTEGER DESC"};
  for (size_t i = 0; i < std::size(queries); ++i)
    node.run(fmt::format("CREATE MATERIALIZED VIEW v{} AS {}", i, queries[i]));
  produce(node, 0, 50);
  Oracle oracle;
  oracle.run(
      "CREATE TABLE events AS SELECT i::INTEGER AS id, i::VARCHAR AS text FROM range(50) t(i) "
      "WHERE i % 5 <> 3");
  for (size_t i = 0; i < std::size(queries); ++i) {
    const std::string name = fmt::format("v{}", i);
    EXPECT_EQ(node.view(name), oracle.run(queries[i])) << queries[i];
    EXPECT_EQ(letters(node, name).size(), 10u) << queries[i];
  }
}

TEST(FailedRows, AGroupThatOverflowsIsLeftOutAndToldOf) {
  io::TestEnv env;
  const std::string huge = "99999999999999999999999999999999999999";
  {
    TestNode node(env);
    node.run("CREATE TABLE items (id INTEGER PRIMARY KEY, shop INTEGER, n DECIMAL(38, 0))");
    node.run("CREATE MATERIALIZED VIEW v AS SELECT shop, sum(n) AS n FROM items GROUP BY shop");
    node.run("CREATE MATERIALIZED VIEW all_of_it AS SELECT sum(n) AS n FROM items");
    node.run(
        "CREATE MATERIALIZED VIEW w AS SELECT id, sum(n) OVER (PARTITION BY shop ORDER BY id) AS n "
        "FROM items");
    node.run(
        "CREATE MATERIALIZED VIEW stopping WITH (on_error = 'stop') AS SELECT shop, avg(n) AS n "
        "FROM items GROUP BY shop");
    node.run(fmt::format("INSERT INTO items VALUES (1, 1, {0}), (2, 1, {0}), (3, 2, 5)", huge));
    EXPECT_EQ(node.view("v"), (TextRows{{"2", "5"}}));
    EXPECT_EQ(node.view("all_of_it"), TextRows());
    EXPECT_EQ(node.view("w"), (TextRows{{"3", "5"}}));
    const auto set_aside = letters(node, "v");
    ASSERT_EQ(set_aside.size(), 1u);
    EXPECT_EQ(set_aside[0].first, R"({"shop":1})");
    EXPECT_NE(set_aside[0].second.find("Overflow"), std::string::npos) << set_aside[0].second;
    EXPECT_EQ(letters(node, "all_of_it").at(0).first, "{}");
    EXPECT_EQ(letters(node, "w").at(0).first, R"({"shop":1})");
    const auto stopped = node.flows->wait_caught_up("stopping", std::chrono::seconds(60));
    ASSERT_FALSE(stopped);
    EXPECT_NE(stopped.error().text.find("in the row {\"shop\":1}"), std::string::npos)
        << stopped.error().text;
  }
  TestNode node(env);
  node.run("INSERT INTO items VALUES (4, 1, -1)");
  EXPECT_EQ(node.view("v"), (TextRows{{"2", "5"}}));
  EXPECT_EQ(letters(node, "v").size(), 1u);
  node.run("DELETE FROM items WHERE id = 2");
  const auto sum = huge.substr(1) + "8";
  EXPECT_EQ(node.view("v"), (TextRows{{"1", sum}, {"2", "5"}}));
  EXPECT_EQ(node.view("w"), (TextRows{{"1", huge}, {"3", "5"}, {"4", sum}}));
}

class FailedRowsCrash : public ::testing::TestWithParam<uint64_t> {};

TEST_P(FailedRowsCrash, EachHasOneLetter) {
  io::TestEnv env;
  std::mt19937_64 random(GetParam());
  int next = 0;
  {
    TestNode node(env);
    node.run("CREATE TOPIC events (id INTEGER, text VARCHAR)");
    node.run(
        "CREATE MATERIALIZED VIEW v AS SELECT id % 2 AS odd, sum(text::INTEGER) AS n FROM events "
        "GROUP BY odd");
  }
  for (int life = 0; life < 5; ++life) {
    TestNode node(env);
    ASSERT_EQ(node.failures, std::vector<std::string>());
    for (int b = random() % 8; b >= 0; --b) {
      const int count = 1 + random() % 100;
      produce(node, next, next + count);
      next += count;
      if (random() % 2 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(random() % 12));
    }
    env.files().forget_unsynced(random());
  }
  TestNode node(env);
  ASSERT_EQ(node.failures, std::vector<std::string>());
  Oracle oracle;
  EXPECT_EQ(node.view("v"),
            oracle.run(fmt::format(
                "SELECT i % 2, sum(i) FROM range({}) t(i) WHERE i % 5 <> 3 GROUP BY 1", next)));
  TextRows expected;
  for (int id = 3; id < next; id += 5)
    expected.push_back({fmt::format(R"({{"id":{},"text":"x"}})", id)});
  std::ranges::sort(expected);
  TextRows got;
  for (auto& [value, reason] : letters(node, "v")) got.push_back({value});
  std::ranges::sort(got);
  EXPECT_EQ(got, expected);
}

INSTANTIATE_TEST_SUITE_P(Seeds, FailedRowsCrash, ::testing::Range<uint64_t>(1, 6));

/// How many letters there are of the row {"id":3}.
size_t letters_of_3(TestNode& node) {
  size_t count = 0;
  for (const auto& [row, reason] : letters(node, "v")) count += row.starts_with(R"({"id":3,)");
  return count;
}

TEST(FailedRows, AViewsLettersAreToldFromThoseOfItsNameBefore) {
  io::TestEnv env;
  const std::string view = "MATERIALIZED VIEW v AS SELECT id, text::INTEGER AS n FROM events";
  {
    TestNode node(env);
    node.run("CREATE TOPIC events (id INTEGER, text VARCHAR)");
    node.run("CREATE " + view);
    for (int at = 0; at < 30; at += 10) {
      produce(node, at, at + 10);
      node.view("v");
    }
    EXPECT_EQ(letters_of_3(node), 1u);
    node.run("CREATE OR REPLACE " + view + " WHERE id < 100");
    node.await_replacement("v");
    EXPECT_EQ(letters_of_3(node), 2u);  // what computes the rows anew finds them anew
  }
  {
    TestNode node(env);
    node.view("v");
    EXPECT_EQ(letters_of_3(node), 2u);
    // As of a view that was dropped: its changelog was shorter.
    log::BatchBuilder letter;
    const std::string place = Uuid::random().to_string() + ".1.0";
    letter.add(env.now_ms(), std::nullopt, "{}", {{"place", place}});
    const auto log = node.broker->find("v.dead_letter")->partitions[0];
    ASSERT_TRUE(log->shard().block_on(log->append(letter.finish(), log::Ack::kDurable)));
  }
  TestNode node(env);
  produce(node, 30, 40);
  node.view("v");
  EXPECT_EQ(letters_of_3(node), 2u);
  EXPECT_EQ(letters(node, "v").size(), 2u * 6 + 1 + 2);
}

}  // namespace
}  // namespace millrace::flow

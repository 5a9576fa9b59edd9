#include <atomic>
#include <map>
#include <thread>

#include "flow/detail/test_node.h"
#include "sql/subscription.h"

// CREATE OR REPLACE of what others read, and of sinks: their log goes on, over a bridge.

namespace millrace::flow {
namespace {

using testing::expect_soon;
using testing::Oracle;
using testing::TestNode;
using testing::TestRecord;
using testing::TextRows;

constexpr const char* kPerDigit = "SELECT id % 10 AS k, count(*) AS n FROM events GROUP BY 1";
constexpr const char* kPerDozen = "SELECT id % 12 AS k, count(*) AS n FROM events GROUP BY 1";
// As kPerDigit, of some digits, with a column more.
constexpr const char* kWider =
    "SELECT id % 10 AS k, count(*) AS n, max(id) AS last FROM events WHERE id % 10 < 7 GROUP BY 1";
constexpr const char* kOverV = "SELECT sum(n)::BIGINT AS total, max(k) AS most FROM v";
constexpr const char* kOverW = "SELECT total * 2 AS twice, most FROM w";

void produce(TestNode& node, int from, int until) {
  std::vector<TestRecord> records;
  for (int id = from; id < until; ++id)
    records.push_back({std::nullopt, fmt::format(R"({{"id":{}}})", id)});
  node.must_produce("events", records);
}

/// DuckDB's answers over the first `until` events when v is `query`.
class Answers {
 public:
  Answers(const std::string& query, int until) {
    oracle_.run(
        fmt::format("CREATE TABLE events AS SELECT i::INTEGER AS id FROM range({}) t(i)", until));
    oracle_.run("CREATE VIEW v AS " + query);
    oracle_.run(std::string("CREATE VIEW w AS ") + kOverV);
    oracle_.run(std::string("CREATE VIEW x AS ") + kOverW);
  }
  TextRows operator()(const std::string& query) { return oracle_.run(query); }

 private:
  Oracle oracle_;
};

void expect_all(TestNode& node, const std::string& query, int until) {
  Answers answers(query, until);
  for (const std::string name : {"v", "w", "x"})
    EXPECT_EQ(node.view(name), answers("SELECT * FROM " + name)) << name << " of " << query;
}

void make(TestNode& node) {
  node.run("CREATE TOPIC events (id INTEGER)");
  produce(node, 0, 1'000);
  node.run(std::string("CREATE MATERIALIZED VIEW v AS ") + kPerDigit);
  node.run(std::string("CREATE MATERIALIZED VIEW w AS ") + kOverV);
  node.run(std::string("CREATE MATERIALIZED VIEW x AS ") + kOverW);
  expect_all(node, kPerDigit, 1'000);
}

void replace(TestNode& node, const std::string& query) {
  node.run("CREATE OR REPLACE MATERIALIZED VIEW v AS " + query);
  node.await_replacement("v");
}

std::string error_of(TestNode& node, const std::string& sql) {
  auto done = node.try_run(sql);
  return done ? "none" : done.error().text;
}

/// What all of a changelog gives, by its rows' text.
std::map<std::string, int64_t> rows_of(TestNode& node, const std::string& topic) {
  std::map<std::string, int64_t> rows;
  for (const auto& record : node.consume(topic)) {
    int64_t weight = 1;
    for (const auto& [name, value] : record.headers) {
      if (name == "epoch") weight = 0;
      if (name == "weight") weight = std::stoll(value);
    }
    if (weight == 0) continue;
    auto& sum = rows[*record.value];
    sum += weight;
    EXPECT_GE(sum, 0) << *record.value << " went before it came";
    if (sum == 0) rows.erase(*record.value);
  }
  return rows;
}

class Bridge : public ::testing::TestWithParam<std::optional<std::chrono::milliseconds>> {};

TEST_P(Bridge, ViewsThreeDeepGoOnOverTheNewRowsAndComeBack) {
  io::TestEnv env;
  Flows::Options options;
  options.snapshot_interval = GetParam();
  int until = 1'000;
  Offset end = 0;
  {
    TestNode node(env, options);
    make(node);
    for (const std::string query : {kPerDozen, kWider}) {
      end = node.broker->find("v")->partitions[0]->high_watermark();
      replace(node, query);
      expect_all(node, query, until);
      produce(node, until, until + 100);
      until += 100;
      expect_all(node, query, until);
      const auto& log = *node.broker->find("v")->partitions[0];
      EXPECT_GT(log.high_watermark(), end);  // it goes on
      EXPECT_EQ(node.broker->list().size(), 4u);
    }
  }
  for (int start = 0; start < 2; ++start) {
    TestNode node(env, options);
    ASSERT_EQ(node.failures, std::vector<std::string>());
    expect_all(node, kWider, until);
    produce(node, until, until + 50);
    until += 50;
    expect_all(node, kWider, until);
    if (start == 0) continue;
    // Who reads it from the start comes to the same rows.
    node.run("CREATE MATERIALIZED VIEW later AS SELECT k, n, last FROM v");
    EXPECT_EQ(node.view("later"), Answers(kWider, until)("SELECT * FROM v"));
    // A view in the middle is replaced as well, while what it reads was.
    node.run(
        "CREATE OR REPLACE MATERIALIZED VIEW w AS SELECT (sum(n) + 1)::BIGINT AS total, "
        "min(k) AS most FROM v");
    node.await_replacement("w");
    EXPECT_EQ(node.view("x"),
              Answers(kWider, until)("SELECT ((sum(n) + 1) * 2)::BIGINT, min(k) FROM v"));
    node.run("DROP MATERIALIZED VIEW v CASCADE");
    if (GetParam()) EXPECT_TRUE(env.files().list("/data/views").value().empty());
  }
}

INSTANTIATE_TEST_SUITE_P(Snapshots, Bridge,
                         ::testing::Values(std::nullopt, std::chrono::milliseconds(0)));

TEST(BridgeUnderReaders, SubscribersGoOnWhileRecordsCome) {
  io::TestEnv env;
  TestNode node(env);
  make(node);
  const auto follow = TestNode::must(node.flows->subscribe("v", {.snapshot = true}));
  std::map<std::string, int64_t> held;
  const auto read = [&] {
    for (;;) {
      auto changes = follow->next();
      ASSERT_TRUE(changes) << changes.error().text;
      if (!*changes) return;
      for (const auto& row : (*changes)->rows) {
        held[row.json] += row.weight;
        if (held[row.json] == 0) held.erase(row.json);
      }
    }
  };
  read();
  std::atomic<bool> done = false;
  int until = 1'000;
  std::thread producer([&] {
    for (; !done || until < 2'000; until += 50) produce(node, until, until + 50);
  });
  replace(node, kPerDozen);
  done = true;
  producer.join();
  expect_all(node, kPerDozen, until);
  read();
  EXPECT_EQ(held, rows_of(node, "v"));
  EXPECT_EQ(held.size(), 12u);
  uint64_t last = 0;  // the numbers of epochs never fall
  for (const auto& record : node.consume("v"))
    for (const auto& [name, value] : record.headers)
      if (name == "epoch") {
        EXPECT_TRUE(last == 0 || std::stoull(value) > last) << value;
        last = std::stoull(value);
      }
}

TEST(BridgeUnderReaders, WhatReadersUseStaysAsItIs) {
  io::TestEnv env;
  TestNode node(env);
  make(node);
  const std::string v = "CREATE OR REPLACE MATERIALIZED VIEW v AS ";
  EXPECT_EQ(error_of(node, v + "SELECT id % 10 AS k FROM events GROUP BY 1"),
            "materialized view \"v\" cannot be replaced: w uses \"n\"");
  EXPECT_EQ(error_of(node, v + "SELECT id::VARCHAR AS k, 1::BIGINT AS n FROM events"),
            "materialized view \"v\" cannot be replaced: w uses \"k\", which would be VARCHAR and "
            "not INTEGER");
  EXPECT_EQ(error_of(node, v + "SELECT count(*) AS n, id % 10 AS k FROM events GROUP BY 2"),
            "materialized view \"v\" cannot be replaced: w needs the columns in the order that "
            "they have");
  EXPECT_EQ(error_of(node, v + "SELECT most AS k, total AS n FROM w"),
            "view \"v\" cannot read itself, which w does");
  EXPECT_EQ(node.status("v").state, "live");
  node.run("CREATE VIEW plain AS SELECT * FROM v");
  EXPECT_EQ(error_of(node, v + kWider),
            "materialized view \"v\" cannot be replaced: plain would have other columns, since it "
            "reads all that there are");
  node.run("DROP VIEW plain");
  node.run("CREATE MATERIALIZED VIEW k_alone AS SELECT k FROM v");
  node.run("DROP MATERIALIZED VIEW w CASCADE");
  // What nobody uses may go.
  replace(node, "SELECT id % 3 AS k FROM events GROUP BY 1");
  EXPECT_EQ(node.view("k_alone"), (TextRows{{"0"}, {"1"}, {"2"}}));
}

TEST(BridgeUnderReaders, WhatWasPromisedToBeFinalIsNotTakenBack) {
  io::TestEnv env;
  TestNode node(env);
  node.run(
      "CREATE TOPIC events (id INTEGER, ts TIMESTAMP, WATERMARK FOR ts AS ts) WITH "
      "(watermark_idle_timeout = 'never')");
  const std::string minutes =
      "AS SELECT window_start AS w, count(*) AS n FROM TUMBLE(events, ts, INTERVAL '1 minute') ";
  node.run("CREATE MATERIALIZED VIEW minutes " + minutes + "GROUP BY window_start");
  node.run(
      "CREATE MATERIALIZED VIEW hours AS SELECT window_start AS w, sum(n)::BIGINT AS n FROM "
      "TUMBLE(minutes, w, INTERVAL '1 hour') GROUP BY window_start");
  for (int i = 0; i < 90; ++i)
    node.must_produce(
        "events", {{std::nullopt, fmt::format(R"({{"id":{},"ts":"2024-03-01T0{}:{:02}:30"}})", i,
                                              i / 60, i % 60)}});
  const auto before = node.view("hours");
  node.run("CREATE OR REPLACE MATERIALIZED VIEW minutes " + minutes +
           "WHERE id % 2 = 0 GROUP BY window_start");
  while (node.status("minutes").error.empty())
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(
      node.status("minutes").error,
      "its replacement: hours reads its column \"w\", of which it has promised that what lies "
      "before the watermark is final: drop hours first");
  EXPECT_EQ(node.status("minutes").state, "replacing");
  EXPECT_EQ(node.view("hours"), before);
  node.run("DROP MATERIALIZED VIEW hours");
  node.run("CREATE OR REPLACE MATERIALIZED VIEW minutes " + minutes + "GROUP BY window_start");
  EXPECT_EQ(node.status("minutes").error, "");
}

// ---- sinks

constexpr const char* kShops =
    "CREATE TABLE stock (id INTEGER PRIMARY KEY, shop VARCHAR, n INTEGER)";

std::vector<std::string> texts(TestNode& node, const std::string& sink, size_t from) {
  std::vector<std::string> all;
  for (const auto& record : node.consume(sink))
    all.push_back(record.key.value_or("-") + " " + record.value.value_or("-"));
  all.erase(all.begin(), all.begin() + static_cast<ptrdiff_t>(std::min(from, all.size())));
  std::ranges::sort(all);
  return all;
}

void await_records(TestNode& node, const std::string& sink, size_t count) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (node.consume(sink).size() < count && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
}

TEST(BridgeOfASink, WritesWhatDiffers) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kShops);
  node.run("INSERT INTO stock VALUES (1, 'a', 2), (2, 'b', 3), (3, 'c', 5)");
  const std::string upsert = " SINK latest WITH (format = 'upsert', key = 'shop') AS ";
  const std::string debezium = " SINK changes WITH (format = 'debezium', key = 'shop') AS ";
  node.run("CREATE" + upsert + "SELECT shop, n FROM stock");
  node.run("CREATE" + debezium + "SELECT shop, n FROM stock");
  await_records(node, "latest", 3);
  await_records(node, "changes", 3);
  // a goes, b changes, c stays as it is; and there is a column more.
  const std::string next =
      "SELECT shop, CASE WHEN id = 2 THEN 30 ELSE n END AS n FROM stock WHERE id > 1";
  node.run("CREATE OR REPLACE" + upsert + next);
  node.run("CREATE OR REPLACE" + debezium + next);
  EXPECT_EQ(node.status("latest").kind, "sink");
  node.await_replacement("latest");
  node.await_replacement("changes");
  await_records(node, "latest", 5);
  await_records(node, "changes", 5);
  EXPECT_EQ(texts(node, "latest", 3),
            (std::vector<std::string>{R"({"shop":"a"} -)", R"({"shop":"b"} {"shop":"b","n":30})"}));
  const auto changed = texts(node, "changes", 3);
  ASSERT_EQ(changed.size(), 2u);
  EXPECT_TRUE(
      changed[0].starts_with(R"({"shop":"a"} {"before":{"shop":"a","n":2},"after":null,"op":"d")"))
      << changed[0];
  EXPECT_TRUE(changed[1].starts_with(
      R"({"shop":"b"} {"before":{"shop":"b","n":3},"after":{"shop":"b","n":30},"op":"u")"))
      << changed[1];
  // A column more: each row is written again, and the topic has the column.
  node.run("CREATE OR REPLACE" + upsert + "SELECT shop, n, id FROM stock WHERE id = 3");
  node.await_replacement("latest");
  await_records(node, "latest", 7);
  EXPECT_EQ(
      texts(node, "latest", 5),
      (std::vector<std::string>{R"({"shop":"b"} -)", R"({"shop":"c"} {"shop":"c","n":5,"id":3})"}));
  node.run(
      "INSERT INTO stock VALUES (3, 'c', 6) ON CONFLICT DO UPDATE SET shop = excluded.shop, n = "
      "excluded.n");
  expect_soon(node, "SELECT n, id FROM latest WHERE id IS NOT NULL ORDER BY n",
              {{"5", "3"}, {"6", "3"}});
  EXPECT_EQ(error_of(node,
                     "CREATE OR REPLACE SINK latest WITH (format = 'debezium', key = 'shop') "
                     "AS SELECT shop, n FROM stock"),
            "sink \"latest\" cannot be replaced by one of another format, key or topic options: "
            "its topic holds what it wrote");
  EXPECT_EQ(
      error_of(node, "CREATE OR REPLACE" + upsert + "SELECT n, shop FROM stock"),
      "sink \"latest\" cannot be replaced: its topic has the column \"shop\" of type VARCHAR, "
      "which the new query does not give as number 1");
}

TEST(BridgeOfASink, PlainAddsAndTakesNothingBack) {
  io::TestEnv env;
  TestNode node(env);
  node.run("CREATE TOPIC events (id INTEGER)");
  produce(node, 0, 10);
  const std::string plain = " SINK few AS SELECT id FROM events WHERE id ";
  node.run("CREATE" + plain + "> 7");
  await_records(node, "few", 2);
  node.run("CREATE OR REPLACE" + plain + "> 5");
  node.await_replacement("few");
  await_records(node, "few", 4);
  produce(node, 10, 11);
  await_records(node, "few", 5);
  EXPECT_EQ(node.run("SELECT id FROM few"), (TextRows{{"10"}, {"6"}, {"7"}, {"8"}, {"9"}}));
  node.run("CREATE OR REPLACE" + plain + "> 8");
  while (node.status("few").error.empty())
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(node.status("few").error,
            "its replacement: few holds rows that the new query does not give, and a sink of "
            "format 'plain' takes none back: create a sink of another name");
  produce(node, 11, 12);
  await_records(node, "few", 6);
  EXPECT_EQ(node.consume("few").size(), 6u);
  node.run("DROP SINK few");
  EXPECT_EQ(node.broker->list().size(), 1u);
}

// ---- crashes

/// Of the operations after the statement, some sixty, one in five is the last of the disk. (1 tries
/// all, in half a minute.)
constexpr size_t kStride = 5;

/// The records of an upsert topic: the last of each key, and none twice in a row.
std::map<std::string, std::string> latest(TestNode& node, const std::string& topic) {
  std::map<std::string, std::string> last;
  for (const auto& record : node.consume(topic)) {
    const auto value = record.value.value_or("-");
    EXPECT_NE(last[*record.key], value) << *record.key << " is written twice";
    last[*record.key] = value;
  }
  std::erase_if(last, [](const auto& each) { return each.second == "-"; });
  return last;
}

/// The disk fails for good at the `n`th operation after the statement, and the node is killed.
/// False: the replacement was over before that.
bool crash_at(size_t n, const std::string& replaced, const std::string& name) {
  io::TestEnv env;
  const auto sink = [](const std::string& topic) {
    return " SINK " + topic + " WITH (format = 'upsert', key = 'k') AS ";
  };
  auto node = std::make_unique<TestNode>(env);
  make(*node);
  node->run("CREATE" + sink("of_v") + "SELECT k, n FROM v");
  node->run("CREATE" + sink("own") + kPerDigit);
  await_records(*node, "of_v", 10);
  await_records(*node, "own", 10);
  node->run("CREATE OR REPLACE" + (name == "v" ? " MATERIALIZED VIEW v AS " : sink(name)) +
            replaced);
  const auto base = env.files().operation_count();
  env.files().fail_after(n, ErrorCode::kIo, SIZE_MAX / 2);
  const auto failed = [&] { return env.files().operation_count() > base + n; };
  while (!failed() && node->status(name).state == "replacing")
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const bool over = !failed();
  env.files().forget_unsynced(n);
  node.reset();
  env.files().heal();
  node = std::make_unique<TestNode>(env);
  EXPECT_EQ(node->failures, std::vector<std::string>()) << n;
  node->await_replacement(name);
  produce(*node, 1'000, 1'100);
  expect_all(*node, name == "v" ? replaced : kPerDigit, 1'100);
  std::map<std::string, std::string> wanted;
  for (const auto& row : Answers(replaced, 1'100)("SELECT * FROM v"))
    wanted[fmt::format(R"({{"k":{}}})", row[0])] =
        fmt::format(R"({{"k":{},"n":{}}})", row[0], row[1]);
  const std::string topic = name == "v" ? "of_v" : "own";
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (latest(*node, topic) != wanted && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_EQ(latest(*node, topic), wanted) << n;
  std::map<std::string, int64_t> rows;
  for (const auto& [key, row] : wanted) rows[row] = 1;
  EXPECT_EQ(rows_of(*node, name == "v" ? "v" : "own.sink"), rows) << n;
  EXPECT_EQ(node->broker->list().size(), 8u) << n;  // events, v, w, x, two sinks, their topics
  return over;
}

TEST(BridgeCrash, AViewThatOthersReadIsWhole) {
  size_t n = 0;
  while (!crash_at(n, kPerDozen, "v") && !HasFailure()) n += kStride;
  EXPECT_GT(n, 2 * kStride);
}

TEST(BridgeCrash, ASinkIsWhole) {
  size_t n = 1;
  while (!crash_at(n, kPerDozen, "own") && !HasFailure()) n += kStride;
  EXPECT_GT(n, 2 * kStride);
}

}  // namespace
}  // namespace millrace::flow

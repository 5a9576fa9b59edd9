#include "sql/subscription.h"

#include <atomic>
#include <thread>

#include "flow/detail/changelog_reader.h"
#include "flow/detail/test_node.h"

namespace millrace::flow {
namespace {

using testing::Oracle;
using testing::TestNode;
using testing::TestRecord;

constexpr const char* kSales = "CREATE TOPIC sales (id INTEGER, shop VARCHAR, amount INTEGER)";
constexpr const char* kByShop =
    "SELECT shop, count(*) AS n, sum(amount)::BIGINT AS amount FROM sales GROUP BY shop";

std::vector<TestRecord> sales(int from, int until) {
  std::vector<TestRecord> records;
  for (int id = from; id < until; ++id)
    records.push_back({std::nullopt, fmt::format(R"({{"id":{},"shop":"s{}","amount":{}}})", id,
                                                 id % 7, id % 100)});
  return records;
}

/// What kByShop must give over sales(0, until), as rows of a changelog.
std::map<std::string, int64_t> by_shop(int until) {
  Oracle oracle;
  oracle.run(
      fmt::format("CREATE TABLE sales AS SELECT i::INTEGER AS id, 's' || (i % 7) AS shop, "
                  "(i % 100)::INTEGER AS amount FROM range({}) t(i)",
                  until));
  std::map<std::string, int64_t> rows;
  for (const auto& row : oracle.run(kByShop))
    rows[fmt::format(R"({{"shop":"{}","n":{},"amount":{}}})", row[0], row[1], row[2])] = 1;
  return rows;
}

/// What a subscriber holds who applies all that comes.
struct Holder {
  std::map<std::string, int64_t> rows;
  uint64_t epoch = 0;
  std::string token;
  size_t parts = 0;
  size_t largest_part = 0;  // bytes of rows

  void apply(const sql::Changes& changes) {
    if (changes.reset) rows.clear();
    size_t bytes = 0;
    for (const auto& row : changes.rows) {
      bytes += row.json.size();
      auto& weight = rows[row.json];
      weight += row.weight;
      EXPECT_GE(weight, 0) << row.json << " has gone before it came";
      if (weight == 0) rows.erase(row.json);
    }
    EXPECT_GE(changes.epoch, epoch);
    epoch = changes.epoch;
    if (!changes.token.empty()) token = changes.token;
    ++parts;
    largest_part = std::max(largest_part, bytes);
  }
  /// Reads all that is there.
  void read(sql::Subscription& from) {
    for (;;) {
      auto changes = from.next();
      ASSERT_TRUE(changes) << changes.error().text;
      if (!*changes) return;
      apply(**changes);
    }
  }
};

std::unique_ptr<sql::Subscription> subscribe(TestNode& node, const std::string& view,
                                             sql::SubscribeOptions options) {
  return TestNode::must(node.flows->subscribe(view, std::move(options)));
}

ErrorCode refusal(TestNode& node, const std::string& view, const std::string& token) {
  auto opened = node.flows->subscribe(view, {.token = token});
  return opened ? ErrorCode::kInternal : opened.error().code;
}

TEST(Subscription, SnapshotAndChangesGiveTheViewsRowsAfterEachEpoch) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kSales);
  node.must_produce("sales", sales(0, 500));
  node.run(std::string("CREATE MATERIALIZED VIEW v AS ") + kByShop);
  node.view("v");
  const auto whole = subscribe(node, "v", {.snapshot = true});
  const auto changes_alone = subscribe(node, "v", {});
  Holder holder;
  holder.read(*whole);
  EXPECT_EQ(holder.rows, by_shop(500));
  EXPECT_FALSE(holder.token.empty());
  const auto before = holder.rows;
  for (int i = 500; i < 540; ++i) {
    node.must_produce("sales", sales(i, i + 1));
    node.view("v");
    holder.read(*whole);
    EXPECT_EQ(holder.rows, by_shop(i + 1)) << i;
  }
  Holder late;
  late.rows = before;
  late.read(*changes_alone);
  EXPECT_EQ(late.rows, holder.rows);
  EXPECT_EQ(late.token, holder.token);
  EXPECT_EQ(late.epoch, holder.epoch);
}

TEST(Subscription, ASnapshotTakenWhileTheViewChangesHasNoGapAndNoDouble) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kSales);
  node.run(std::string("CREATE MATERIALIZED VIEW v AS ") + kByShop);
  std::atomic<bool> done = false;
  std::thread producer([&] {
    for (int i = 0; i < 300; ++i) node.must_produce("sales", sales(i * 10, i * 10 + 10));
    done = true;
  });
  std::vector<std::pair<std::unique_ptr<sql::Subscription>, Holder>> all;
  while (!done) {
    all.emplace_back(subscribe(node, "v", {.snapshot = true}), Holder());
    all.back().second.read(*all.back().first);
  }
  producer.join();
  node.view("v");
  const auto wanted = by_shop(3000);
  for (auto& [subscription, holder] : all) {
    holder.read(*subscription);
    EXPECT_EQ(holder.rows, wanted);
  }
  EXPECT_GT(all.size(), 1u);
}

TEST(Subscription, AnyTokenGoesOnWhereItWasGiven) {
  io::TestEnv env;
  std::map<std::string, std::map<std::string, int64_t>> at;  // what was held, by token
  {
    TestNode node(env);
    node.run(kSales);
    node.run(std::string("CREATE MATERIALIZED VIEW v AS ") + kByShop);
    node.view("v");
    const auto subscription = subscribe(node, "v", {.snapshot = true});
    Holder holder;
    for (int i = 0; i < 20; ++i) {
      node.must_produce("sales", sales(i * 5, i * 5 + 5));
      node.view("v");
      holder.read(*subscription);
      at[holder.token] = holder.rows;
    }
  }
  EXPECT_GE(at.size(), 20u);
  TestNode node(env);  // the node was started anew meanwhile
  node.view("v");
  for (const auto& [token, rows] : at) {
    Holder holder;
    holder.rows = rows;
    holder.read(*subscribe(node, "v", {.token = token}));
    EXPECT_EQ(holder.rows, by_shop(100)) << token;
  }
  EXPECT_EQ(refusal(node, "v", "nonsense"), ErrorCode::kInvalidArgument);
  const std::string some = at.begin()->first;
  EXPECT_EQ(refusal(node, "v", some + "000"), ErrorCode::kInvalidArgument);  // past the end
  const auto dot = some.rfind('.');
  EXPECT_EQ(refusal(node, "v", some.substr(0, dot) + ".2"), ErrorCode::kInvalidArgument)
      << "a row stands before it, no commit";
}

TEST(Subscription, EpochsThatASlowReaderIsBehindComeAsTheirSum) {
  io::TestEnv env;
  TestNode node(env, {.epoch_interval = std::chrono::milliseconds(0)});
  node.run(kSales);
  node.run(std::string("CREATE MATERIALIZED VIEW v AS ") + kByShop);
  node.view("v");
  const auto slow = subscribe(node, "v", {.snapshot = true});
  Holder holder;
  holder.read(*slow);
  for (int i = 0; i < 100; ++i) {
    node.must_produce("sales", sales(i * 7, i * 7 + 7));
    node.view("v");
  }
  const size_t parts = holder.parts;
  const uint64_t epoch = holder.epoch;
  holder.read(*slow);
  EXPECT_EQ(holder.rows, by_shop(700));
  EXPECT_EQ(holder.parts, parts + 1);
  EXPECT_GE(holder.epoch, epoch + 100);
}

TEST(Subscription, ALargeEpochComesInPartsOfBoundedSize) {
  io::TestEnv env;
  TestNode node(env);
  node.run("CREATE TOPIC lines (line VARCHAR)");
  for (int part = 0; part < 10; ++part) {
    std::vector<TestRecord> records;
    for (int i = 0; i < 2000; ++i)
      records.push_back({std::nullopt, fmt::format(R"({{"line":"{:0>200}"}})", part * 2000 + i)});
    node.must_produce("lines", records);
  }
  node.run("CREATE MATERIALIZED VIEW v AS SELECT line FROM lines");
  node.view("v");
  const auto first = node.consume("v").front().offset;
  // From the start, so that the epoch of 20,000 rows is read from the log.
  const auto topic = node.broker->find("v");
  const std::string begin = fmt::format("{}.{}", topic->object.id.to_string(), first + 1);
  Holder holder;
  holder.read(*subscribe(node, "v", {.token = begin}));
  EXPECT_EQ(holder.rows.size(), 20'000u);
  EXPECT_GE(holder.parts, 5u);
  EXPECT_LE(holder.largest_part, 2 * ChangelogReader::kWindowBytes);
  EXPECT_FALSE(holder.token.empty());
}

TEST(Subscription, SaysThatTheLogNoLongerHoldsWhatComesNextOrBeginsAnew) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kSales);
  node.run(std::string("CREATE MATERIALIZED VIEW v AS ") + kByShop);
  node.view("v");
  const auto overtaken = subscribe(node, "v", {.snapshot = true});
  const auto begins_anew = subscribe(node, "v", {.reset = true});
  Holder holder;
  holder.read(*overtaken);
  node.must_produce("sales", sales(0, 70));
  node.view("v");
  const auto log = node.broker->find("v")->partitions[0];
  ASSERT_TRUE(log->shard().block_on(log->delete_records(log->high_watermark())));
  const auto next = overtaken->next();
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().code, ErrorCode::kOffsetOutOfRange);
  EXPECT_EQ(refusal(node, "v", holder.token), ErrorCode::kOffsetOutOfRange);
  holder.rows["what was held before"] = 1;
  holder.read(*begins_anew);
  EXPECT_EQ(holder.rows, by_shop(70));
}

TEST(Subscription, EndsWhenItsViewIsDroppedReplacedOrStops) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kSales);
  node.must_produce("sales", sales(0, 70));
  for (const char* end :
       {"DROP MATERIALIZED VIEW v",
        "CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT shop, count(*) AS n FROM sales GROUP BY "
        "shop"}) {
    node.run(std::string("CREATE OR REPLACE MATERIALIZED VIEW v AS ") + kByShop);
    node.view("v");
    const auto subscription = subscribe(node, "v", {.snapshot = true});
    Holder holder;
    holder.read(*subscription);
    node.run(end);
    node.await_replacement("v");
    const auto next = subscription->next();
    ASSERT_FALSE(next) << end;
    EXPECT_EQ(next.error().code, ErrorCode::kUndefinedObject) << end;
    if (!node.flows->find("v")) continue;
    node.view("v");
    EXPECT_EQ(refusal(node, "v", holder.token), ErrorCode::kInvalidArgument);
    Holder anew;
    anew.rows["what was held before"] = 1;
    anew.read(*subscribe(node, "v", {.token = holder.token, .reset = true}));
    EXPECT_EQ(anew.rows.size(), 7u);
  }
  node.run(
      "CREATE MATERIALIZED VIEW w WITH (on_error = 'stop') AS SELECT CAST(shop AS INTEGER) AS n "
      "FROM sales");
  while (node.flows->wait_caught_up("w", std::chrono::seconds(60))) {
  }
  const auto stopped = node.flows->subscribe("w", {});
  ASSERT_FALSE(stopped);
  EXPECT_NE(stopped.error().text.find("view w has stopped"), std::string::npos);
}

TEST(Subscription, OpenedWhileItsViewIsReplacedItIsOfOneOfTheTwo) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kSales);
  node.must_produce("sales", sales(0, 70));
  node.run(std::string("CREATE MATERIALIZED VIEW v AS ") + kByShop);
  node.view("v");
  std::atomic<bool> done = false;
  std::set<std::string> seen;
  std::thread subscriber([&] {
    while (!done) {
      auto opened = node.flows->subscribe("v", {.snapshot = true});
      auto first = opened ? (*opened)->next() : Result<std::optional<sql::Changes>>(opened.error());
      if (!first) {
        EXPECT_EQ(first.error().code, ErrorCode::kUndefinedObject) << first.error().text;
      } else if (*first) {
        for (const auto& row : (*first)->rows) seen.insert(row.json);
      }
    }
  });
  for (int i = 0; i < 5; ++i) {
    node.run("CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM sales");
    node.await_replacement("v");
    node.run(std::string("CREATE OR REPLACE MATERIALIZED VIEW v AS ") + kByShop);
    node.await_replacement("v");
  }
  done = true;
  subscriber.join();
  EXPECT_EQ(seen.size(), 8u) << "seven shops, or one count";
  EXPECT_TRUE(seen.contains(R"({"n":70})"));
}

TEST(Subscription, SaysWhyItsViewHasStopped) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kSales);
  node.run(
      "CREATE MATERIALIZED VIEW v WITH (on_error = 'stop') AS SELECT CAST(shop AS INTEGER) AS n "
      "FROM sales");
  node.view("v");
  const auto subscription = subscribe(node, "v", {});
  node.must_produce("sales", sales(0, 1));
  while (node.flows->wait_caught_up("v", std::chrono::seconds(60))) {
  }
  const auto next = subscription->next();
  ASSERT_FALSE(next);
  EXPECT_NE(next.error().text.find("view v has stopped"), std::string::npos) << next.error().text;
}

TEST(Subscription, WakesItsReader) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kSales);
  node.run(std::string("CREATE MATERIALIZED VIEW v AS ") + kByShop);
  node.view("v");
  const auto subscription = subscribe(node, "v", {});
  std::atomic<int> wakes = 0;
  subscription->on_changes([&] {
    ++wakes;
    wakes.notify_all();
  });
  wakes.wait(0);  // once at once
  Holder holder;
  while (holder.epoch == 0) {
    const int before = wakes;
    holder.read(*subscription);
    if (holder.epoch != 0) break;
    if (before == 1) node.must_produce("sales", sales(0, 70));
    wakes.wait(before);
  }
  EXPECT_EQ(holder.rows, by_shop(70));
  subscription->on_changes(nullptr);
}

}  // namespace
}  // namespace millrace::flow

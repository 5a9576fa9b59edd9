#include <gtest/gtest.h>

#include "flow/detail/test_node.h"

namespace millrace::flow {
namespace {

using testing::TestNode;
using testing::TestRecord;
using testing::TextRows;

constexpr int64_t kDayMs = 1'709'251'200'000;  // 2024-03-01

constexpr const char* kBids =
    "CREATE TOPIC bids (id INTEGER, currency VARCHAR, price INTEGER, ts TIMESTAMP, "
    "WATERMARK FOR ts AS ts - INTERVAL '1 minute') WITH (watermark_idle_timeout = 'never')";
constexpr const char* kRates = "CREATE TABLE rates (currency VARCHAR PRIMARY KEY, rate INTEGER)";
constexpr const char* kConverted =
    "SELECT b.id, b.price * r.rate AS euros FROM bids b {} rates r FOR SYSTEM_TIME AS OF b.ts ON "
    "b.currency = r.currency";
// What a view must equal: DuckDB's ASOF join over the table's log.
constexpr const char* kExpected =
    "SELECT b.id, b.price * v.rate AS euros FROM bids b {} (SELECT * FROM (VALUES {}) v(currency, "
    "rate, since)) v ON b.currency = v.currency AND b.ts >= v.since";

std::string time_of(int minute) {
  return fmt::format("2024-03-01T{:02}:{:02}:00", minute / 60, minute % 60);
}
TestRecord bid(int id, const std::string& currency, int price, int minute) {
  return {std::nullopt, fmt::format(R"({{"id":{},"currency":"{}","price":{},"ts":"{}"}})", id,
                                    currency, price, time_of(minute))};
}
/// A rate from this minute on; none: there is none from then on.
TestRecord rate(const std::string& currency, std::optional<int> rate, int minute) {
  TestRecord record{fmt::format(R"(["{}"])", currency), std::nullopt,
                    kDayMs + int64_t{minute} * 60'000};
  if (rate) record.value = fmt::format(R"({{"currency":"{}","rate":{}}})", currency, *rate);
  return record;
}
OperatorStatus join_of(TestNode& node, const std::string& view) {
  for (const auto& status : node.flows->status())
    for (const auto& op : status.operators)
      if (status.name == view && op.description.find("temporal") != std::string::npos) return op;
  return {};
}

TEST(TemporalJoin, TakesTheVersionThatIsValidAtTheRowsTime) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kBids);
  node.run(kRates);
  node.must_produce("rates", {rate("USD", 2, 0), rate("USD", 3, 10), rate("CHF", 5, 5),
                              rate("CHF", std::nullopt, 20), rate("USD", 4, 30),
                              rate("USD", 9, 15)});  // which came out of order
  node.must_produce("bids", {bid(1, "USD", 100, 0), bid(2, "USD", 100, 10), bid(3, "USD", 100, 9),
                             bid(4, "CHF", 100, 4), bid(5, "CHF", 100, 19), bid(6, "CHF", 100, 20),
                             bid(7, "SEK", 100, 20), bid(8, "USD", 100, 15), bid(9, "USD", 1, 99)});
  const std::string versions =
      "('USD', 2, TIMESTAMP '2024-03-01 00:00:00'), ('USD', 3, TIMESTAMP '2024-03-01 00:10:00'), "
      "('USD', 4, TIMESTAMP '2024-03-01 00:30:00'), ('USD', 9, TIMESTAMP '2024-03-01 00:15:00'), "
      "('CHF', 5, TIMESTAMP '2024-03-01 00:05:00'), ('CHF', NULL, TIMESTAMP '2024-03-01 00:20:00')";
  for (const std::string kind : {"JOIN", "LEFT JOIN"}) {
    const std::string name = kind == "JOIN" ? "inner_join" : "left_join";
    node.run(fmt::format("CREATE MATERIALIZED VIEW {} AS {}", name,
                         fmt::format(fmt::runtime(kConverted), kind)));
    auto expected = fmt::format(fmt::runtime(kExpected), "ASOF " + kind, versions);
    if (kind == "JOIN")  // a version without a rate stands for none
      expected = "SELECT * FROM (" + expected + ") WHERE euros IS NOT NULL";
    EXPECT_EQ(node.view(name), node.run(expected)) << name;
  }
}

TEST(TemporalJoin, ARowIsJoinedOnceAndOldVersionsAreForgotten) {
  io::TestEnv env;
  TextRows expected;
  for (int start = 0; start < 3; ++start) {
    TestNode node(env);
    if (start == 0) {
      node.run(kBids);
      node.run(kRates);
      node.run(fmt::format("CREATE MATERIALIZED VIEW converted AS {}",
                           fmt::format(fmt::runtime(kConverted), "JOIN")));
    }
    EXPECT_EQ(node.view("converted"), expected);
    for (int minute = start * 100; minute < start * 100 + 100; ++minute) {
      node.must_produce("rates", {rate("USD", minute, minute)});
      node.view("converted");
      node.must_produce("bids", {bid(minute, "USD", 1, minute)});
      expected.push_back({std::to_string(minute), std::to_string(minute)});
      std::ranges::sort(expected);
      if (minute % 20 == 19) EXPECT_EQ(node.view("converted"), expected);
    }
    EXPECT_EQ(node.view("converted"), expected);
    EXPECT_LE(join_of(node, "converted").state_rows, 5u);
    EXPECT_EQ(join_of(node, "converted").late_rows, 0u);
  }
  for (TestNode node(env); const auto& record : node.consume("converted"))
    for (const auto& [name, value] : record.headers) EXPECT_EQ(name, "epoch");  // no weights
}

TEST(TemporalJoin, CarriesTheStreamsWatermark) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kBids);
  node.run(kRates);
  node.must_produce("rates", {rate("USD", 2, 0), rate("USD", 3, 7)});
  node.run(
      "CREATE MATERIALIZED VIEW sums AS SELECT window_end, sum(price * rate) AS euros FROM "
      "TUMBLE((SELECT b.ts, b.price, rates.rate FROM bids b JOIN rates FOR SYSTEM_TIME AS OF b.ts "
      "ON (b.currency = rates.currency)), ts, INTERVAL '5 minutes') GROUP BY window_end "
      "EMIT ON WINDOW CLOSE");
  node.must_produce("bids", {bid(1, "USD", 10, 1), bid(2, "USD", 10, 4), bid(3, "USD", 10, 8),
                             bid(4, "USD", 10, 9), bid(5, "USD", 10, 12)});
  EXPECT_EQ(node.view("sums"),
            (TextRows{{"2024-03-01 00:05:00", "40"}, {"2024-03-01 00:10:00", "60"}}));
  node.must_produce("bids", {bid(6, "USD", 10, 2)});  // the version that it needs is forgotten
  EXPECT_EQ(node.view("sums").size(), 2u);
  EXPECT_EQ(join_of(node, "sums").late_rows, 1u);
}

TEST(TemporalJoin, IsRefusedWhereItMeansNothing) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kBids);
  node.run(kRates);
  const auto refused = [&](const std::string& query, const std::string& why) {
    const auto made = node.try_run("CREATE MATERIALIZED VIEW v AS " + query);
    ASSERT_FALSE(made) << query;
    EXPECT_NE(made.error().text.find(why), std::string::npos) << made.error().text;
  };
  refused("SELECT b.id FROM bids b JOIN rates r FOR SYSTEM_TIME AS OF b.ts ON b.price = r.rate",
          "compares the key of rates, (currency)");
  refused("SELECT b.id FROM bids b JOIN bids r FOR SYSTEM_TIME AS OF b.ts ON b.id = r.id",
          "joins a table, and bids is none");
  refused(
      "SELECT m.currency FROM (SELECT currency, max(ts) AS ts FROM bids GROUP BY currency) m JOIN "
      "rates FOR SYSTEM_TIME AS OF m.ts AS r ON m.currency = r.currency",
      "these are taken back");
  refused(
      "SELECT b.id FROM bids b JOIN rates r FOR SYSTEM_TIME AS OF b.ts ON b.currency = r.currency "
      "OR b.id = 1",
      "put the condition in parentheses");
  refused("SELECT b.id FROM bids b JOIN rates r FOR SYSTEM_TIME AS OF b.ts USING (currency)",
          "syntax error at or near \"USING\"");
  node.run("INSERT INTO rates VALUES ('USD', 1)");
  node.must_produce("bids", {bid(1, "USD", 1, 1)});
  const auto adhoc = node.try_run(
      "SELECT b.id FROM bids b JOIN rates r FOR SYSTEM_TIME AS OF b.ts ON b.currency = r.currency");
  ASSERT_FALSE(adhoc);
  EXPECT_NE(adhoc.error().text.find("only a materialized view"), std::string::npos)
      << adhoc.error().text;
}

TEST(TemporalJoin, AWindowThatTheTableCouldChangeForEverIsRefused) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kBids);
  node.run(kRates);
  const auto refused = node.try_run(
      "CREATE MATERIALIZED VIEW v AS SELECT window_end, sum(price * rate) AS euros FROM "
      "TUMBLE(bids, ts, INTERVAL '5 minutes') b JOIN rates r ON b.currency = r.currency "
      "GROUP BY window_end EMIT ON WINDOW CLOSE");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text.find("since changes of rates may change"), std::string::npos)
      << refused.error().text;
  EXPECT_NE(refused.error().hint.find("FOR SYSTEM_TIME AS OF"), std::string::npos);
}

}  // namespace
}  // namespace millrace::flow

#include <duckdb.hpp>

#include "flow/detail/test_node.h"

// Views whose WHERE asks for now(), on a clock that the test turns.

namespace millrace::flow {
namespace {

using testing::TestNode;
using testing::TestRecord;
using testing::TextRows;

constexpr int64_t kStartMs = 1'700'000'000'000;  // the clock when a TestEnv begins

constexpr const char* kEvents = "CREATE TOPIC events (id INTEGER, ts TIMESTAMP, until TIMESTAMP)";

/// So many seconds after the start, as SQL writes it.
std::string at(int64_t seconds) {
  return duckdb::Timestamp::ToString(duckdb::timestamp_t(kStartMs * 1000 + seconds * 1'000'000));
}

TestRecord event(int id, int64_t seconds, int64_t until = 0) {
  return {std::nullopt,
          fmt::format(R"({{"id":{},"ts":"{}","until":"{}"}})", id, at(seconds), at(until))};
}

TextRows ids(const std::vector<int>& numbers) {
  TextRows rows;
  for (const int n : numbers) rows.push_back({std::to_string(n)});
  return rows;
}

TEST(Clock, RowsLeaveWhenTheirTimeHasCome) {
  io::TestEnv env;
  {
    TestNode node(env);
    node.run(kEvents);
    node.run(
        "CREATE MATERIALIZED VIEW recent AS SELECT id FROM events WHERE ts > now() - INTERVAL '1 "
        "minute'");
    node.must_produce("events", {event(1, -30), event(2, -90), event(3, 10), event(4, 20)});
    EXPECT_EQ(node.view("recent"), ids({1, 3, 4}));
    env.set_now_ms(kStartMs + 29'999);
    node.must_produce("events", {event(5, -29), event(6, -60)});
    EXPECT_EQ(node.view("recent"), ids({1, 3, 4, 5}));
    env.set_now_ms(kStartMs + 30'000);
    expect_soon(node, "SELECT * FROM recent", ids({3, 4, 5}));
    for (const auto& status : node.flows->status()) EXPECT_EQ(status.operators[1].state_rows, 3u);
  }
  // What left while the node was away leaves when it is back, from the state that was saved.
  env.set_now_ms(kStartMs + 75'000);
  {
    TestNode node(env);
    expect_soon(node, "SELECT * FROM recent", ids({4}));
  }
  env.set_now_ms(kStartMs + 80'000);
  TestNode node(env);
  expect_soon(node, "SELECT * FROM recent", ids({}));
  for (const auto& status : node.flows->status()) EXPECT_EQ(status.operators[1].state_bytes, 0u);
  std::string changes;
  for (const auto& record : node.consume("recent")) {
    const bool gone = !record.headers.empty() && record.headers[0].second == "-1";
    if (!record.key && record.value->starts_with(R"({"id")"))
      changes += (gone ? "-" : "+") + record.value->substr(6, 1);
  }
  EXPECT_EQ(changes, "+1+3+4+5-1-5-3-4");
}

// `{0}` stands for the clock.
constexpr const char* kConditions[] = {
    "ts > {0}",
    "{0} - INTERVAL '20 seconds' <= ts",
    "ts <= {0} + INTERVAL '10 seconds'",
    "ts < {0}",
    "ts BETWEEN {0} - INTERVAL '15 seconds' AND {0} + INTERVAL '15 seconds'",
    "{0} BETWEEN ts AND until",
    "ts >= date_trunc('minute', {0}) AND id % 2 = 1",
    "ts = date_trunc('minute', {0}) + INTERVAL '20 seconds'",
    "CAST(ts AS DATE) = CAST({0} AS DATE) - 1",
    "until + INTERVAL '5 seconds' > CAST({0} AS TIMESTAMP) AND ts <= {0}",
    "greatest(ts, until) > {0} - INTERVAL '1 day' + INTERVAL '23 hours'"};
constexpr const char* kQueries[] = {
    "SELECT e.id, t.until FROM events e LEFT JOIN things t ON e.id = t.id AND t.ts > {0}",
    "SELECT e.id, t.ts FROM events e LEFT JOIN things t ON e.id = t.id WHERE t.ts > {0}",
    "WITH r AS MATERIALIZED (SELECT id, ts FROM events WHERE ts > {0}) SELECT a.id, b.id AS other "
    "FROM r a JOIN r b ON a.id = b.id",
    "SELECT id % 3 AS k, max(ts) AS m FROM things GROUP BY k HAVING max(ts) <= {0} + INTERVAL '1 "
    "minute'",
    "SELECT id FROM (SELECT id, ts FROM events UNION ALL SELECT id, ts FROM things) WHERE ts > {0}",
    "SELECT id FROM events e WHERE EXISTS (SELECT 1 FROM things t WHERE t.id = e.id AND t.ts > "
    "{0})",
    "SELECT id % 3 AS k, id FROM things WHERE ts <= {0} QUALIFY row_number() OVER (PARTITION BY k "
    "ORDER BY ts DESC, id) <= 2",
    "SELECT * FROM (SELECT id, ts, row_number() OVER (PARTITION BY id % 3 ORDER BY ts, id) AS n "
    "FROM things) WHERE n <= 4 AND ts > {0} - INTERVAL '1 minute'",
    "SELECT window_start AS w, count(*) AS n FROM TUMBLE((SELECT * FROM events WHERE ts > {0} - "
    "INTERVAL '1 minute'), ts, INTERVAL '10 seconds') GROUP BY window_start",
    "SELECT count(*) AS n FROM events WHERE ts > {0}"};

std::vector<std::string> queries() {
  std::vector<std::string> all{std::begin(kQueries), std::end(kQueries)};
  for (const char* from : {"events", "things"})
    for (const char* condition : kConditions)
      all.push_back(fmt::format("SELECT id, ts FROM {} WHERE {}", from, condition));
  return all;
}

/// The views are over a topic and a table, and the test turns the clock; each equals DuckDB's
/// answer at that moment.
TEST(Clock, EveryQueryEqualsDuckDBAtItsMoment) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kEvents);
  node.run("CREATE TABLE things (id INTEGER PRIMARY KEY, ts TIMESTAMP, until TIMESTAMP)");
  const auto all = queries();
  const auto query = [&](size_t i, const std::string& now) {
    return fmt::format(fmt::runtime(all[i]), now);
  };
  for (size_t i = 0; i < all.size(); ++i)
    node.run(fmt::format("CREATE MATERIALIZED VIEW v{} AS {}", i, query(i, "now()")));

  // The start is 22:13:20, 6,400 s before midnight.
  const int64_t moments[] = {0, 14, 15, 16, 40, 3'000, 6'399, 6'400, 95'000};
  int id = 0;
  for (const int64_t moment : moments) {
    env.set_now_ms(kStartMs + moment * 1000);
    std::vector<TestRecord> records;
    for (const int64_t offset : {-86'400, -3'600, -20, -15, -1, 0, 1, 10, 15, 3'000, 7'000}) {
      records.push_back(event(++id, moment + offset, moment + 2 * offset));
      node.run(fmt::format("INSERT INTO things VALUES ({}, '{}', '{}')", id, at(moment + offset),
                           at(moment + 2 * offset)));
    }
    node.must_produce("events", records);
    // Of rows that wait, stand, or have left.
    node.run(fmt::format("DELETE FROM things WHERE id % 7 = {}", moment % 7));
    const auto now = fmt::format("TIMESTAMPTZ '{}+00'", at(moment));
    for (size_t i = 0; i < all.size(); ++i)
      expect_soon(node, fmt::format("SELECT * FROM v{}", i), node.run(query(i, now)));
    // Time alone moves them, too.
    env.set_now_ms(kStartMs + moment * 1000 + 1'000);
    const auto then = fmt::format("TIMESTAMPTZ '{}+00'", at(moment + 1));
    for (size_t i = 0; i < all.size(); ++i)
      expect_soon(node, fmt::format("SELECT * FROM v{}", i), node.run(query(i, then)));
  }
}

TEST(Clock, TimesWithoutAnEndNeitherComeNorGo) {
  io::TestEnv env;
  TestNode node(env);
  node.run("CREATE TABLE t (id INTEGER PRIMARY KEY, ts VARCHAR)");
  for (const char* condition : {"> now()", "<= now()", "= now()"})
    node.run(
        fmt::format("CREATE MATERIALIZED VIEW v{} AS SELECT id FROM t WHERE CAST(ts AS "
                    "TIMESTAMP) {}",
                    condition[0] == '>'   ? 1
                    : condition[0] == '<' ? 2
                                          : 3,
                    condition));
  node.run(
      "INSERT INTO t VALUES (1, 'infinity'), (2, '-infinity'), (3, 'soon'), (4, '1970-01-01')");
  EXPECT_EQ(node.view("v1"), ids({1}));
  EXPECT_EQ(node.view("v2"), ids({2, 4}));
  EXPECT_EQ(node.view("v3"), ids({}));
  for (const auto& status : node.flows->status())
    EXPECT_EQ(status.operators[1].state_rows, 0u) << status.name;
}

TEST(Clock, ASinkOfRowsThatLeaveIsNotPlain) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kEvents);
  const auto refused =
      node.try_run("CREATE SINK s AS SELECT id FROM events WHERE ts > now() - INTERVAL '1 minute'");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text.find("filter by the clock"), std::string::npos)
      << refused.error().text;
  node.run("CREATE SINK s AS SELECT id FROM events WHERE ts <= now()");
}

}  // namespace
}  // namespace millrace::flow

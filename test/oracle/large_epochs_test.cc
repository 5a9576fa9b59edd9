#include <fmt/format.h>
#include <gtest/gtest.h>

#include "oracle/replay.h"

// Epochs of 100,000 rows: everything at once, half of it taken back at once, and a burst on one
// side of a join that meets all of the other.

namespace millrace::flow {
namespace {

constexpr size_t kFacts = 100'000;

const std::vector<std::string> kSetup = {
    "CREATE TABLE f(id INTEGER, k INTEGER, v INTEGER)",
    fmt::format("INSERT INTO f SELECT n, CASE WHEN n % 4 = 0 THEN 7 ELSE n * 7919 % 2000 END, "
                "n * 31 % 1000 FROM range({}) r(n)",
                kFacts),
    "CREATE TABLE d(k INTEGER, name VARCHAR)",
    "INSERT INTO d SELECT n, 'number ' || n FROM range(0, 2000, 3) r(n)",
    "CREATE TABLE burst(k INTEGER, x INTEGER)",  // the key 7, which a quarter of f has, 20 times
    "INSERT INTO burst SELECT CASE WHEN n < 20 THEN 7 ELSE n % 2000 END, n FROM range(4000) r(n)"};

const std::vector<std::string> kQueries = {
    "SELECT k, count(*) AS n, sum(v) AS s, min(v) AS low, max(id) AS high FROM f GROUP BY k",
    "SELECT DISTINCT k, v % 10 AS digit FROM f",
    "SELECT d.name, count(*) AS n, sum(f.v) AS s FROM f JOIN d ON f.k = d.k GROUP BY d.name",
    "SELECT f.k, count(b.x) AS n, sum(b.x) AS s FROM f LEFT JOIN burst b ON f.k = b.k GROUP BY f.k",
    "SELECT count(*) AS n, sum(id) AS s FROM f WHERE k NOT IN (SELECT k FROM burst)",
    "SELECT k, id FROM (SELECT k, id, row_number() OVER (PARTITION BY k ORDER BY v DESC, id) AS r "
    "FROM f) WHERE r = 2",
    "SELECT id, v FROM f ORDER BY v DESC, id LIMIT 50",
    "SELECT k FROM f EXCEPT SELECT k FROM d"};

/// The rows of a table whose number is `rest` modulo `of`.
void change(std::vector<Rows::Change>& epoch, const Rows& rows, const std::string& table,
            int64_t weight, size_t of = 1, size_t rest = 0) {
  for (const auto& row : rows.all())
    if (row.table == table && row.index % of == rest) epoch.push_back({row, weight});
}

void expect_equal(Rows& rows, const Replay& replay) {
  for (const auto& [query, text] : compare(rows, kQueries, replay))
    ADD_FAILURE() << kQueries[query] << "\n" << text;
}

class LargeEpochs : public ::testing::TestWithParam<size_t> {};

TEST_P(LargeEpochs, RowsComeAndGoByTheHundredThousand) {
  Rows rows(kSetup);
  Replay replay;
  replay.shares = GetParam();
  replay.name = fmt::format("shares: {}", replay.shares);
  auto& epochs = replay.epochs;
  change(epochs.emplace_back(), rows, "f", 1);
  change(epochs.back(), rows, "d", 1);
  change(epochs.emplace_back(), rows, "burst", 1);  // meets all of f
  change(epochs.emplace_back(), rows, "f", -1, 2);  // 50,000 at once
  change(epochs.emplace_back(), rows, "f", 1, 2);   // there again, and the burst goes
  change(epochs.back(), rows, "burst", -1);
  change(epochs.emplace_back(), rows, "f", -1);  // all
  change(epochs.back(), rows, "d", -1, 2);
  change(epochs.emplace_back(), rows, "f", 1);
  change(epochs.back(), rows, "burst", 1);  // both sides at once
  expect_equal(rows, replay);
}

INSTANTIATE_TEST_SUITE_P(Oracle, LargeEpochs, ::testing::Values(1, 3));

TEST(LargeEpochsOfTopics, EqualDuckDBAtEveryEpoch) {
  Rows rows(kSetup);
  Replay replay;
  replay.shares = 3;
  replay.ways = {{"f", "d", "burst"}};
  replay.name = "topics";
  change(replay.epochs.emplace_back(), rows, "f", 1, 2);
  change(replay.epochs.emplace_back(), rows, "f", 1, 2, 1);
  change(replay.epochs.back(), rows, "d", 1);
  change(replay.epochs.emplace_back(), rows, "burst", 1);
  expect_equal(rows, replay);
}

}  // namespace
}  // namespace millrace::flow

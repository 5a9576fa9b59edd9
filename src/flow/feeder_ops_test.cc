#include "flow/detail/ops_feeder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

namespace millrace::flow {
namespace {

const std::vector<std::string> kSchema = {
    "CREATE TABLE a(id BIGINT, k INTEGER, s VARCHAR, d DECIMAL(12,2), x DOUBLE, ts TIMESTAMP, "
    "l INTEGER[], f BOOLEAN)",
    "CREATE TABLE b(id BIGINT, k INTEGER, name VARCHAR, v BIGINT, ts TIMESTAMP, dt DATE)",
    "CREATE TABLE c(id BIGINT, k INTEGER, g VARCHAR, st STRUCT(p INTEGER, q VARCHAR), "
    "m MAP(VARCHAR, INTEGER), h SMALLINT)",
};

uint64_t seed_of_run() {
  if (const char* given = std::getenv("MR_SEED")) return std::strtoull(given, nullptr, 10);
  return std::random_device{}();
}

/// Random rows for the three tables, and random deletions.
class Feeder {
 public:
  explicit Feeder(uint64_t seed) : random_(seed) {}

  /// One epoch of changes.
  void change(Oracle& oracle, const std::set<std::string>& topics) {
    for (const char* table : {"a", "b", "c"}) {
      auto& ids = live_[table];
      if (!topics.contains(table) && !ids.empty() && below(3) > 0) remove_some(oracle, table, ids);
      insert_some(oracle, table, ids);
      // A row may come and go in one epoch.
      if (!topics.contains(table) && !ids.empty() && below(4) == 0) remove_some(oracle, table, ids);
    }
  }

 private:
  uint64_t below(uint64_t n) { return random_() % n; }
  std::string or_null(std::string text, uint64_t one_in) {
    return below(one_in) == 0 ? "NULL" : text;
  }
  std::string word() {
    static const std::vector<std::string> kWords = {"''",
                                                    "'x'",
                                                    "'pear'",
                                                    "'apple'",
                                                    "'a text of more than twelve letters'",
                                                    "'another, quite as long as the first'"};
    return or_null(kWords[below(kWords.size())], 8);
  }
  std::string small(uint64_t n) { return or_null(fmt::format("{}", below(n)), 9); }
  std::string time() {
    return or_null(
        fmt::format("TIMESTAMP '2024-01-01 00:00:00' + INTERVAL '{} minutes'", below(3000)), 12);
  }
  std::string list() {
    std::string text = "[";
    for (uint64_t i = below(5); i > 0; --i) text += small(6) + (i > 1 ? "," : "");
    return or_null(text + "]::INTEGER[]", 8);
  }

  std::string row_of(const std::string& table, int64_t id) {
    if (table == "a")
      return fmt::format("({}, {}, {}, {}, {}, {}, {}, {})", id, small(7), word(),
                         or_null(fmt::format("{}.{:02}", below(90), below(100)), 9),
                         or_null(fmt::format("{} / 7.0", below(900)), 9), time(), list(),
                         or_null(below(2) ? "true" : "false", 9));
    if (table == "b")
      return fmt::format("({}, {}, {}, {}, {}, {})", id, small(7), word(), small(10), time(),
                         or_null(fmt::format("DATE '2024-01-01' + {}", below(4)), 9));
    return fmt::format("({}, {}, {}, {}, {}, {})", id, small(7), word(),
                       or_null(fmt::format("{{'p': {}, 'q': {}}}", small(3), word()), 7),
                       or_null(fmt::format("MAP {{'u': {}, 'v': {}}}", small(3), small(3)), 7),
                       small(5));
  }

  void insert_some(Oracle& oracle, const std::string& table, std::vector<int64_t>& ids) {
    const uint64_t count = below(10) == 0 ? below(400) : below(12);
    std::string values, list;
    for (uint64_t i = 0; i < count; ++i) {
      const int64_t id = next_id_++;
      const std::string row = row_of(table, id);
      values += (values.empty() ? "" : ", ") + row;
      if (below(12) == 0) values += ", " + row;  // the very same row twice
      list += (list.empty() ? "" : ", ") + fmt::format("{}", id);
      ids.push_back(id);
    }
    if (count > 0) oracle.insert(table, values, list);
  }

  void remove_some(Oracle& oracle, const std::string& table, std::vector<int64_t>& ids) {
    const uint64_t count = below(8) == 0 ? ids.size() : below(std::min<uint64_t>(ids.size(), 9));
    std::string list;
    for (uint64_t i = 0; i < count; ++i) {
      std::swap(ids[below(ids.size())], ids.back());
      list += (list.empty() ? "" : ", ") + fmt::format("{}", ids.back());
      ids.pop_back();
    }
    if (count > 0) oracle.remove(table, list);
  }

  std::mt19937_64 random_;
  int64_t next_id_ = 1;
  std::map<std::string, std::vector<int64_t>> live_;
};

}  // namespace

void compare_all(const std::vector<std::string>& queries, const std::set<std::string>& topics,
                 size_t epochs) {
  const uint64_t seed = seed_of_run();
  SCOPED_TRACE(fmt::format("MR_SEED={}", seed));
  fmt::print("MR_SEED={}\n", seed);
  Oracle oracle(kSchema, topics);
  std::vector<std::unique_ptr<Oracle::View>> views;
  for (const auto& query : queries) {
    auto view = oracle.translate(query);
    EXPECT_TRUE(view) << query << "\n" << view.error().text;
    if (!view) continue;
    views.push_back(std::move(*view));
  }
  std::set<std::string> broken;
  Feeder feeder(seed);
  for (size_t epoch = 1; epoch <= epochs; ++epoch) {
    if (epoch > 1) feeder.change(oracle, topics);  // the first epoch is empty
    for (auto& view : views) {
      if (broken.contains(view->query)) continue;
      const auto stepped = oracle.step(*view, epoch);
      const auto differs =
          stepped ? difference(oracle.answer(view->query), view->rows) : stepped.error().text;
      EXPECT_EQ(differs, "") << "epoch " << epoch << "\n"
                             << view->query << "\n"
                             << view->flow->describe();
      if (!differs.empty()) broken.insert(view->query);
    }
    oracle.next_epoch();
  }
}

}  // namespace millrace::flow

#include "flow/detail/ranked_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

namespace millrace::flow {
namespace {

std::string key_of(uint32_t number) {
  std::string key(4, '\0');
  for (int i = 0; i < 4; ++i) key[i] = static_cast<char>(number >> (24 - 8 * i));
  return key;
}

TEST(RankedRows, StandInTheOrderOfTheirKeysAndAsTheyCame) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  Arrangement rows(false, true);
  auto& all = rows.find_or_add("g", hash_bytes("g"));
  RankedRows ranks;
  RankedRows::Root root = 0;
  // By key and number: the row, and its weight.
  std::map<std::pair<uint32_t, uint64_t>, std::pair<Arrangement::Row*, int64_t>> expected;
  for (int turn = 0; turn < 3000; ++turn) {
    if (!expected.empty() && random() % 2 == 0) {
      auto at = std::next(expected.begin(), random() % expected.size());
      auto& [row, weight] = at->second;
      const int64_t by = random() % 3 == 0 ? 2 : random() % 2 == 0 ? -weight : 1 - weight;
      ranks.change(root, key_of(at->first.first), *row, by);
      weight += by;
      if (weight == 0) expected.erase(at);
    } else {
      const uint32_t key = random() % 50;
      auto& row = rows.add(all, std::to_string(turn), 1).row;
      const int64_t weight = 1 + random() % 3;
      ranks.insert(root, key_of(key), row, weight);
      expected[{key, row.number}] = {&row, weight};
    }
    int64_t rank = 0;
    for (const auto& [key, value] : expected) {
      if (turn % 50 == 0) {
        ASSERT_EQ(ranks.at(root, rank), value.first);
        ASSERT_EQ(ranks.at(root, rank + value.second - 1), value.first);
      }
      rank += value.second;
    }
    ASSERT_EQ(ranks.weight(root), rank);
    ASSERT_EQ(ranks.at(root, rank), nullptr);
  }
  ranks.clear(root);
  EXPECT_EQ(ranks.weight(root), 0);
}

/// A group with very many rows, of which some come and go: not its size, but the logarithm counts.
TEST(RankedRows, AChangeCostsTheLogarithmOfAGroup) {
  constexpr uint32_t kRows = 200'000, kChanges = 20'000;
  Arrangement rows(false, true);
  auto& all = rows.find_or_add("g", hash_bytes("g"));
  RankedRows ranks;
  RankedRows::Root root = 0;
  std::vector<Arrangement::Row*> kept;
  const auto most = [](uint32_t changes) { return changes * 4.0 * std::log2(kRows); };
  // In order, which is what spoils trees that are not balanced.
  for (uint32_t i = 0; i < kRows; ++i) {
    kept.push_back(&rows.add(all, key_of(i), 1).row);
    ranks.insert(root, key_of(i), *kept.back(), 1);
  }
  EXPECT_LT(ranks.comparisons(), most(kRows));
  const auto before = ranks.comparisons();
  for (uint32_t i = 0; i < kChanges; ++i) {
    ranks.change(root, key_of(i * 10), *kept[i * 10], -1);
    ASSERT_NE(ranks.at(root, ranks.weight(root) / 2), nullptr);
  }
  EXPECT_LT(ranks.comparisons() - before, most(kChanges));
}

}  // namespace
}  // namespace millrace::flow

#include "flow/detail/flat_table.h"

#include <gtest/gtest.h>

#include <random>
#include <unordered_map>

namespace millrace::flow {
namespace {

struct Number {
  uint32_t hash = 0;
  uint32_t key = 0;  // 0: empty
  uint64_t value = 0;
  uint32_t place() const { return hash; }
  bool is_empty() const { return key == 0; }
};

Number* find(const FlatTable<Number>& table, uint32_t hash, uint32_t key) {
  return table.find(hash, [&](const Number& number) { return number.key == key; });
}

TEST(FlatTable, HoldsWhatAMapHoldsThroughAllThatComesAndGoes) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  FlatTable<Number> table;
  std::unordered_map<uint32_t, uint64_t> expected;
  // Few hashes, also the greatest, so that runs are long and go round the end.
  const auto hash_of = [](uint32_t key) {
    return key % 7 == 0 ? ~0u - key % 3 : key % 100 * 40'000'000u;
  };
  for (int turn = 0; turn < 20'000; ++turn) {
    const uint32_t key = 1 + random() % 600;
    Number* known = find(table, hash_of(key), key);
    ASSERT_EQ(known != nullptr, expected.contains(key)) << turn;
    if (known) ASSERT_EQ(known->value, expected[key]);
    if (known && random() % 2 == 0) {
      table.erase(known);
      expected.erase(key);
    } else if (!known) {
      const uint64_t value = random();
      table.insert({hash_of(key), key, value});
      expected[key] = value;
    }
  }
  EXPECT_EQ(table.size(), expected.size());
  size_t seen = 0;
  table.each([&](const Number& number) { seen += expected.at(number.key) == number.value; });
  EXPECT_EQ(seen, expected.size());
}

}  // namespace
}  // namespace millrace::flow

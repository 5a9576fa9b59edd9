#include "flow/detail/join_times.h"

#include <gtest/gtest.h>

#include <set>

namespace millrace::flow {
namespace {

constexpr int64_t kSecond = 1'000'000;

/// A side of a join that keeps rows of the key "k" by time.
struct Kept {
  explicit Kept(bool append_only) : rows(append_only, false), by_time(append_only) {}
  Arrangement::Row& add(int64_t time_us) {
    const auto bytes = by_time.with_time("row", time_us);
    auto& row = rows.add(rows.find_or_add("k", hash_bytes("k")), bytes, 1).row;
    by_time.add(row);
    return row;
  }
  std::multiset<Arrangement::Row*> take_below(int64_t time_us) {
    std::multiset<Arrangement::Row*> taken;
    by_time.take_below(time_us, [&](auto some) { taken.insert(some.begin(), some.end()); });
    return taken;
  }
  Arrangement rows;
  RowsByTime by_time;
};

TEST(RowsByTime, AreTakenOnceTheirSecondHasPassed) {
  for (const bool append_only : {true, false}) {
    Kept kept(append_only);
    auto* early = &kept.add(-kSecond / 2);
    auto* late = &kept.add(3 * kSecond);
    auto* between = &kept.add(kSecond + 7);
    auto* with_it = &kept.add(kSecond + 5);
    kept.add(RowsByTime::kNoTime);
    EXPECT_TRUE(kept.take_below(-kSecond).empty());
    EXPECT_EQ(kept.take_below(kSecond + 6), (std::multiset{early}));
    EXPECT_EQ(kept.take_below(3 * kSecond), (std::multiset{between, with_it}));
    auto* again = &kept.add(kSecond + 5);  // the same second, begun anew
    EXPECT_FALSE(kept.by_time.empty());
    EXPECT_EQ(kept.take_below(10 * kSecond), (std::multiset{late, again}));
    EXPECT_TRUE(kept.by_time.empty());
    EXPECT_EQ(kept.by_time.memory_bytes(), 0u);
  }
}

TEST(RowsByTime, ThoseThatGoByThemselvesAreNotTaken) {
  Kept kept(false);
  auto& gone = kept.add(kSecond);
  auto* stays = &kept.add(kSecond + 1);
  auto& alone = kept.add(2 * kSecond);
  kept.by_time.remove(gone);
  kept.by_time.remove(alone);
  auto* later = &kept.add(2 * kSecond + 1);
  EXPECT_EQ(kept.take_below(9 * kSecond), (std::multiset{stays, later}));
}

}  // namespace
}  // namespace millrace::flow

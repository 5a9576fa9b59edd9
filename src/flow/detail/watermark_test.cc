#include "flow/detail/watermark.h"

#include <gtest/gtest.h>

namespace millrace::flow {
namespace {

constexpr int64_t kSecond = 1'000'000;

TEST(Watermark, IsTheLeastThatAPartitionPromises) {
  Watermark watermark(2);
  watermark.observe(0, 100, 0);
  EXPECT_EQ(watermark.advance(0), std::nullopt);
  watermark.observe(1, 40, kSecond);
  EXPECT_EQ(watermark.advance(kSecond), 40);
  watermark.observe(1, 70, 2 * kSecond);
  EXPECT_EQ(watermark.advance(2 * kSecond), 70);
}

TEST(Watermark, NeverFalls) {
  Watermark watermark(1);
  watermark.observe(0, 100, 0);
  watermark.observe(0, 60, 0);
  EXPECT_EQ(watermark.advance(0), 100);
  watermark.observe(0, WatermarkExpression::kNone, 0);
  EXPECT_EQ(watermark.advance(0), 100);
}

TEST(Watermark, LeavesOutAPartitionThatIsIdleAndNeverFallsWhenItComesBack) {
  Watermark watermark(2);
  watermark.observe(0, 10, 0);
  watermark.observe(1, 20, 0);
  EXPECT_EQ(watermark.advance(0), 10);
  watermark.observe(1, 500, 29 * kSecond);
  EXPECT_EQ(watermark.advance(29 * kSecond), 10);
  watermark.observe(1, 600, 30 * kSecond);
  EXPECT_EQ(watermark.advance(30 * kSecond), 600);
  watermark.observe(0, 300, 31 * kSecond);
  EXPECT_EQ(watermark.advance(31 * kSecond), 600);
  watermark.observe(0, 700, 32 * kSecond);
  watermark.observe(1, 800, 32 * kSecond);
  EXPECT_EQ(watermark.advance(32 * kSecond), 700);
}

TEST(Watermark, DoesNotWaitForEverForAPartitionThatHasNeverHadARow) {
  Watermark watermark(2);
  watermark.observe(0, 10, 5 * kSecond);
  EXPECT_EQ(watermark.advance(5 * kSecond), std::nullopt);
  watermark.observe(0, 20, 34 * kSecond);
  EXPECT_EQ(watermark.advance(34 * kSecond), std::nullopt);
  watermark.observe(0, 30, 35 * kSecond);
  EXPECT_EQ(watermark.advance(35 * kSecond), 30);
}

TEST(Watermark, GoesOnWithTheClockWhenAllAreIdle) {
  Watermark watermark(2);
  watermark.observe(0, 100 * kSecond, 1000 * kSecond);
  watermark.observe(1, 300 * kSecond, 1010 * kSecond);
  EXPECT_EQ(watermark.advance(1010 * kSecond), 100 * kSecond);
  EXPECT_EQ(watermark.next_us(), 1030 * kSecond);
  // The first is left out; the second still may speak.
  EXPECT_EQ(watermark.advance(1030 * kSecond), 300 * kSecond);
  EXPECT_EQ(watermark.next_us(), 1040 * kSecond);
  // As far behind the clock as it was with its last row.
  EXPECT_EQ(watermark.advance(1040 * kSecond), 330 * kSecond);
  EXPECT_EQ(watermark.next_us(), 1041 * kSecond);
  EXPECT_EQ(watermark.advance(1100 * kSecond), 390 * kSecond);
  // A row that comes then is behind it, and it does not fall.
  watermark.observe(1, 350 * kSecond, 1101 * kSecond);
  EXPECT_EQ(watermark.advance(1101 * kSecond), 390 * kSecond);
}

TEST(Watermark, TakesNoSilenceForIdlenessThatHasAnotherCause) {
  Watermark watermark(1);
  watermark.observe(0, 100 * kSecond, 0);
  EXPECT_EQ(watermark.advance(0), 100 * kSecond);
  watermark.excuse(0, 3600 * kSecond);
  EXPECT_EQ(watermark.advance(3601 * kSecond), 100 * kSecond);
  EXPECT_EQ(watermark.advance(3630 * kSecond), 130 * kSecond);
}

TEST(Watermark, WithoutATimeoutWaitsForEver) {
  Watermark watermark(2, Watermark::kNever);
  watermark.observe(0, 10, 0);
  EXPECT_EQ(watermark.advance(0), std::nullopt);
  EXPECT_EQ(watermark.next_us(), std::nullopt);
  EXPECT_EQ(watermark.advance(100'000 * kSecond), std::nullopt);
}

TEST(Watermark, WithoutAnyRowThereIsNoTimeToGoOnFrom) {
  Watermark watermark(1);
  EXPECT_EQ(watermark.advance(0), std::nullopt);
  EXPECT_EQ(watermark.advance(100 * kSecond), std::nullopt);
  EXPECT_EQ(watermark.next_us(), std::nullopt);
}

}  // namespace
}  // namespace millrace::flow

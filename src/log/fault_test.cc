// A log on a disk that forgets, fills up and fails.

#include <random>
#include <set>

#include "log/log_test_util.h"

namespace millrace::log {
namespace {

using namespace std::chrono_literals;

TEST_F(LogTest, RecoversByItselfWhenTheDiskHasRoomAgain) {
  open();
  ASSERT_TRUE(append(batch_of("a")));
  env.files().fail_after(0, ErrorCode::kDiskFull, SIZE_MAX);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(append(batch_of("lost")).error().code, ErrorCode::kDiskFull);
  }
  EXPECT_EQ(log->high_watermark(), 1);
  EXPECT_EQ(log->end_offset(), 1);
  env.files().heal();
  EXPECT_EQ(append(batch_of("b"))->base_offset, 1);
  EXPECT_EQ(values(), (std::vector<std::string>{"a-0", "b-0"}));
  crash();
  open();
  EXPECT_EQ(values(), (std::vector<std::string>{"a-0", "b-0"}));
}

TEST_F(LogTest, NeverAcksWhatAFailedSyncLeftUnknown) {
  open();
  ASSERT_TRUE(append(batch_of("a")));
  env.files().fail_after(1, ErrorCode::kIo);  // the write passes, its sync does not
  EXPECT_EQ(append(batch_of("lost")).error().code, ErrorCode::kIo);
  EXPECT_EQ(log->high_watermark(), 1);
  EXPECT_EQ(append(batch_of("b"))->base_offset, 1);
  crash();
  open();
  EXPECT_EQ(values(), (std::vector<std::string>{"a-0", "b-0"}));
}

/// The script of the fault tests: appends, rolls, retention, reads.
struct Acked {
  std::set<std::string> values;
  std::set<std::string> failed;
};

io::Task<void> append_one(PartitionLog& log, std::string name, Acked& acked) {
  auto appended = co_await log.append(batch_of(name), Ack::kDurable);
  (appended ? acked.values : acked.failed).insert(name + "-0");
}

io::Task<void> append_some(PartitionLog& log, io::Shard& shard, int from, int count, Acked& acked) {
  io::Gate gate;
  for (int i = from; i < from + count; ++i) {
    shard.spawn(gate, append_one(log, "value " + std::to_string(i), acked));
    if (i % 3 == 0) co_await shard.sleep(0ns);
  }
  co_await gate.close();
}

/// Every step of a small life fails in its turn: what was acked is there, once, in the end.
TEST_F(LogTest, KeepsWhatItAckedWhicheverStepFails) {
  config.segment_bytes = 500;
  for (const auto code : {ErrorCode::kIo, ErrorCode::kDiskFull}) {
    for (size_t step = 0; step < 70; ++step) {
      SCOPED_TRACE(step);
      (void)env.files().remove_folder(folder);
      open();
      Acked acked;
      env.files().fail_after(step, code, 1 + step % 3);
      shard.block_on(append_some(*log, shard, 0, 12, acked));
      shard.block_on(append_some(*log, shard, 12, 6, acked));
      env.files().heal();
      const auto alive = values();
      shard.block_on(append_some(*log, shard, 18, 2, acked));
      EXPECT_TRUE(acked.values.contains("value 19-0"));
      crash();
      open();
      const auto kept = values();
      const std::set<std::string> once(kept.begin(), kept.end());
      EXPECT_EQ(once.size(), kept.size());
      for (const auto& value : acked.values) EXPECT_TRUE(once.contains(value)) << value;
      for (const auto& value : alive) EXPECT_TRUE(once.contains(value)) << value;
      ASSERT_TRUE(close());
    }
  }
}

/// Crashes at random moments of random loads, on a disk that keeps a random part of what was not
/// synced.
TEST_F(LogTest, UnsyncedBytesNeverIncludeAnAckedBatch) {
  const char* given = std::getenv("MR_SEED");
  const uint64_t seed = given ? std::strtoull(given, nullptr, 10) : std::random_device()();
  SCOPED_TRACE(seed);
  std::fprintf(stderr, "seed %llu\n", static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  config.segment_bytes = 1500;
  open();
  Acked acked;
  std::vector<std::string> before;
  int next = 0;
  for (int life = 0; life < 60; ++life) {
    const int bursts = static_cast<int>(random() % 4);
    for (int burst = 0; burst < bursts; ++burst) {
      const int count = 1 + static_cast<int>(random() % 20);
      if (random() % 3 == 0) {
        const auto code = random() % 2 ? ErrorCode::kIo : ErrorCode::kDiskFull;
        env.files().fail_after(random() % 20, code, 1 + random() % 4);
      }
      shard.block_on(append_some(*log, shard, next, count, acked));
      next += count;
      env.files().heal();
    }
    // Some that are written, and perhaps on disk, when the process dies.
    for (uint64_t i = random() % 5; i > 0; --i) {
      env.files().set_sync_delay(20ms);
      (void)append(batch_of("unsynced " + std::to_string(next++)), Ack::kWritten);
    }
    before = values();
    crash(random() % 4 ? std::optional<uint64_t>(random()) : std::nullopt);
    env.files().set_sync_delay(0ns);
    open();
    const auto kept = values();
    const std::set<std::string> once(kept.begin(), kept.end());
    ASSERT_EQ(once.size(), kept.size());
    for (const auto& value : acked.values) ASSERT_TRUE(once.contains(value)) << value;
    // What a reader has seen stays, in its place.
    ASSERT_GE(kept.size(), before.size());
    for (size_t i = 0; i < before.size(); ++i) ASSERT_EQ(kept[i], before[i]);
  }
  EXPECT_GT(acked.values.size(), 200u);
}

}  // namespace
}  // namespace millrace::log

// What a disk has damaged after it was on it: reported, refused, and all else is served.

#include "log/log_test_util.h"

namespace millrace::log {
namespace {

class DamageTest : public LogTest {
 protected:
  /// Ten batches of one record; the first seven are known to be on disk.
  void fill() {
    config.index_interval_bytes = 1;
    open();
    for (int i = 0; i < 10; ++i) {
      // The log notes how far it is synced every few seconds.
      if (i == 6) env.set_now_ms(env.now_ms() + 6000);
      ASSERT_TRUE(append(batch_of("value " + std::to_string(i))));
    }
    // The system has written that back long before the crash.
    auto note = env.files().open(folder + "/synced", io::FileSystem::Mode::kCreate);
    ASSERT_TRUE(shard.block_on((*note)->sync()));
    crash();
  }
  uint64_t size_of_batch() { return batch_of("value 0").size(); }
  void damage(Offset offset, uint64_t at, std::string_view bytes = "xx") {
    const auto position = static_cast<uint64_t>(offset) * size_of_batch() + at;
    env.files().overwrite(folder + "/00000000000000000000.log", position, bytes);
  }
  double corrupt_batches() {
    return env.metrics().counter("millrace_log_corrupt_batches_total", "").value();
  }
  void expect_all_but(Offset damaged, Offset end) {
    EXPECT_EQ(log->end_offset(), end);
    for (Offset offset = 0; offset < end; ++offset) {
      const auto result = read(offset, 1);
      if (offset == damaged) {
        ASSERT_FALSE(result) << offset;
        EXPECT_EQ(result.error().code, ErrorCode::kCorruptRecord);
        continue;
      }
      ASSERT_TRUE(result) << result.error().text;
      EXPECT_EQ(parse_batch_header(result->batches)->base_offset, offset);
    }
    // All before the damage is given out first, also to who asks for much.
    EXPECT_EQ(read(damaged - 2)->next_offset, damaged);
  }
};

TEST_F(DamageTest, ADamagedMiddleIsRefusedAndAllElseServed) {
  for (const uint64_t at : {64, 17, 8, 0}) {  // a record, the CRC, the length, the offset
    SCOPED_TRACE(at);
    (void)env.files().remove_folder(folder);
    fill();
    damage(4, at, "\x7f\x11");
    const double before = corrupt_batches();
    open();
    EXPECT_EQ(corrupt_batches(), before + 1);
    expect_all_but(4, 10);
    EXPECT_EQ(append(batch_of("value 9"))->base_offset, 10);
    expect_all_but(4, 11);
    crash();
    open();
    expect_all_but(4, 11);
    reopen();
    expect_all_but(4, 11);
    // The index too is made anew around it.
    ASSERT_TRUE(close());
    env.files().overwrite(folder + "/00000000000000000000.index", 9, "x");
    open();
    expect_all_but(4, 11);
  }
}

TEST_F(DamageTest, TheOffsetsOfADamagedEndAreNotGivenAgain) {
  fill();
  for (Offset offset = 5; offset < 10; ++offset) damage(offset, 20);
  open();
  EXPECT_EQ(log->end_offset(), 7);
  EXPECT_EQ(append(batch_of("value 9"))->base_offset, 7);
  EXPECT_FALSE(read(5));
  EXPECT_TRUE(read(7));
}

TEST_F(DamageTest, BytesThatAreGoneAreReportedAndTheirOffsetsNotGivenAgain) {
  fill();
  auto file = env.files().open(folder + "/00000000000000000000.log", io::FileSystem::Mode::kCreate);
  ASSERT_TRUE(shard.block_on((*file)->truncate(3 * size_of_batch())));
  ASSERT_TRUE(shard.block_on((*file)->sync()));
  const double before = corrupt_batches();
  open();
  EXPECT_EQ(corrupt_batches(), before + 1);
  EXPECT_EQ(append(batch_of("value 9"))->base_offset, 7);
}

TEST_F(DamageTest, ATornTailBehindWhatIsKnownIsCut) {
  fill();
  damage(8, 64);
  open();
  EXPECT_EQ(log->end_offset(), 8);
  EXPECT_EQ(values().size(), 8u);
}

TEST_F(DamageTest, ADamagedSealedSegmentGivesOutTheRest) {
  config.segment_bytes = 5 * size_of_batch();
  fill();
  damage(2, 8, "\x7f");
  open();
  (void)env.files().remove(folder + "/00000000000000000000.index");
  reopen();
  expect_all_but(2, 10);
}

}  // namespace
}  // namespace millrace::log

#include "log/partition_log.h"

#include "log/log_test_util.h"

namespace millrace::log {
namespace {

using namespace std::chrono_literals;

TEST_F(LogTest, ReadsWhatWasAppended) {
  open();
  const auto first = append(batch_of("a", 2));
  ASSERT_TRUE(first) << first.error().text;
  EXPECT_EQ(first->base_offset, 0);
  EXPECT_EQ(first->next_offset, 2);
  EXPECT_EQ(append(batch_of("b") + batch_of("c"))->base_offset, 2);
  EXPECT_EQ(log->high_watermark(), 4);
  EXPECT_EQ(values(), (std::vector<std::string>{"a-0", "a-1", "b-0", "c-0"}));
  const auto middle = read(1, 1);  // whole batches, the first may begin before
  ASSERT_TRUE(middle);
  EXPECT_EQ(middle->next_offset, 2);
  EXPECT_TRUE(read(4)->batches.empty());
  EXPECT_EQ(read(5).error().code, ErrorCode::kOffsetOutOfRange);
}

TEST_F(LogTest, OpensCleanlyWithoutLookingAtTheData) {
  open();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(append(batch_of(std::string(1000, 'x'))));
  ASSERT_TRUE(close());
  const size_t before = env.files().operation_count();
  open();
  EXPECT_LE(env.files().operation_count() - before, 5u);
  EXPECT_EQ(log->high_watermark(), 100);
  EXPECT_EQ(values().size(), 100u);
  EXPECT_EQ(append(batch_of("next"))->base_offset, 100);
  reopen();
  EXPECT_EQ(values().size(), 101u);
}

TEST_F(LogTest, RollsSegmentsAndReadsAcrossThem) {
  config.segment_bytes = 2000;
  open();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(append(batch_of(std::to_string(i), 3)));
  EXPECT_GT(env.files().list(folder)->size(), 10u);
  const auto before = values();
  EXPECT_EQ(before.size(), 300u);
  for (Offset from = 0; from < 300; ++from) {
    const auto chunk = read(from, 100);
    ASSERT_TRUE(chunk) << chunk.error().text;
    const auto header = parse_batch_header(chunk->batches);
    ASSERT_TRUE(header);
    EXPECT_LE(header->base_offset, from);
    EXPECT_GE(header->last_offset(), from);
  }
  reopen();
  EXPECT_EQ(values(), before);
  crash();
  open();
  EXPECT_EQ(values(), before);
}

TEST_F(LogTest, RollsByAge) {
  config.segment_ms = 1000;
  open();
  ASSERT_TRUE(append(batch_of("a")));
  env.set_now_ms(env.now_ms() + 2000);
  ASSERT_TRUE(append(batch_of("b")));
  EXPECT_TRUE(env.files().exists(folder + "/00000000000000000001.log"));
  EXPECT_EQ(values().size(), 2u);
}

TEST_F(LogTest, CutsATornTailOnReopen) {
  open();
  ASSERT_TRUE(append(batch_of("whole")));
  const uint64_t size = log->size_bytes();
  crash();
  const auto torn = batch_of("torn");
  env.files().overwrite(folder + "/00000000000000000000.log", size, torn.substr(0, 65));
  open();
  EXPECT_EQ(values(), std::vector<std::string>{"whole-0"});
  EXPECT_EQ(append(batch_of("next"))->base_offset, 1);
  EXPECT_EQ(values(), (std::vector<std::string>{"whole-0", "next-0"}));
}

TEST_F(LogTest, ReportsADamagedBatchWhenItIsRead) {
  config.segment_bytes = 300;
  open();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(append(batch_of(std::to_string(i))));
  env.files().overwrite(folder + "/00000000000000000000.log", 66, "?");
  const auto damaged = read(0);
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code, ErrorCode::kCorruptRecord);
  EXPECT_TRUE(read(10));
}

TEST_F(LogTest, MakesDamagedIndexesAnew) {
  config.segment_bytes = 4000;
  config.index_interval_bytes = 200;
  open();
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(append(batch_of(std::to_string(i), 1, 1000 + i)));
  const auto before = values();
  ASSERT_TRUE(close());
  ASSERT_TRUE(env.files().remove(folder + "/00000000000000000000.timeindex"));
  env.files().overwrite(folder + "/00000000000000000000.index", 20, "damage");
  open();
  EXPECT_EQ(values(), before);
  EXPECT_EQ(shard.block_on(log->offset_for_time(1010))->offset, 10);
}

TEST_F(LogTest, FindsRecordsByTime) {
  config.segment_bytes = 2000;
  config.index_interval_bytes = 200;
  open();
  EXPECT_EQ(shard.block_on(log->max_timestamp())->offset, -1);
  for (int i = 0; i < 100; ++i) {
    BatchBuilder builder;
    builder.add(1000 + i * 20, std::nullopt, "a");
    builder.add(1000 + i * 20 + 10, std::nullopt, "b");
    ASSERT_TRUE(append(builder.finish()));
  }
  for (int round = 0; round < 2; ++round) {
    for (TimestampMs t = 990; t <= 2990; t += 5) {
      const auto found = shard.block_on(log->offset_for_time(t));
      ASSERT_TRUE(found);
      const Offset expected = t <= 1000 ? 0 : (t - 1000 + 9) / 10;
      EXPECT_EQ(found->offset, expected) << t;
      EXPECT_EQ(found->timestamp, 1000 + expected * 10) << t;
    }
    EXPECT_EQ(shard.block_on(log->offset_for_time(2991))->offset, -1);
    const auto latest = shard.block_on(log->max_timestamp());
    EXPECT_EQ(latest->offset, 199);
    EXPECT_EQ(latest->timestamp, 2990);
    reopen();
  }
}

TEST_F(LogTest, FindsTheLargestTimestampOutOfOrder) {
  open();
  ASSERT_TRUE(append(batch_of("a", 2, 50)));
  ASSERT_TRUE(append(batch_of("b", 2, 900)));
  ASSERT_TRUE(append(batch_of("c", 2, 60)));
  EXPECT_EQ(shard.block_on(log->max_timestamp())->offset, 2);
  ASSERT_TRUE(shard.block_on(log->delete_records(4)));
  EXPECT_EQ(shard.block_on(log->max_timestamp())->timestamp, 60);
}

TEST_F(LogTest, StampsRecordsWithTheAppendTime) {
  config.timestamp_type = TimestampType::kLogAppendTime;
  open();
  const auto appended = append(batch_of("a", 1, 5));
  EXPECT_EQ(appended->append_time_ms, env.now_ms());
  EXPECT_EQ(shard.block_on(log->offset_for_time(env.now_ms()))->offset, 0);
  EXPECT_EQ(values().size(), 1u);
}

TEST_F(LogTest, RefusesABatchThatIsTooLarge) {
  config.batch_bytes_max = 200;
  open();
  EXPECT_EQ(append(batch_of(std::string(300, 'x'))).error().code, ErrorCode::kRecordTooLarge);
  EXPECT_TRUE(append(batch_of("small")));
}

TEST_F(LogTest, DeletesOldSegmentsByTime) {
  config.segment_bytes = 300;
  config.retention_ms = 10'000;
  open();
  const auto now = env.now_ms();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(append(batch_of("x", 1, now + i * 1000)));
  ASSERT_TRUE(shard.block_on(log->enforce_retention()));
  EXPECT_EQ(log->start_offset(), 0);
  env.set_now_ms(now + 20'000);
  ASSERT_TRUE(shard.block_on(log->enforce_retention()));
  EXPECT_GT(log->start_offset(), 5);
  EXPECT_LE(log->start_offset(), 10);
  EXPECT_EQ(read(0).error().code, ErrorCode::kOffsetOutOfRange);
  env.set_now_ms(now + 100'000);
  ASSERT_TRUE(shard.block_on(log->enforce_retention()));
  EXPECT_EQ(log->start_offset(), 20);
  EXPECT_EQ(log->size_bytes(), 0u);
  reopen();
  EXPECT_EQ(log->start_offset(), 20);
  EXPECT_EQ(append(batch_of("y"))->base_offset, 20);
}

TEST_F(LogTest, DeletesOldSegmentsBySizeButNotWhatIsHeld) {
  config.segment_bytes = 300;
  config.retention_bytes = 1000;
  config.retention_ms = -1;
  open();
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(append(batch_of(std::to_string(i))));
  log->hold("a view", 7);
  ASSERT_TRUE(shard.block_on(log->enforce_retention()));
  EXPECT_GT(log->start_offset(), 0);
  EXPECT_LE(log->start_offset(), 7);
  EXPECT_TRUE(read(7));
  log->hold("a view", std::nullopt);
  ASSERT_TRUE(shard.block_on(log->enforce_retention()));
  EXPECT_GT(log->start_offset(), 20);
  EXPECT_GE(log->size_bytes(), 1000u);
  EXPECT_LT(log->size_bytes(), 1600u);
}

TEST_F(LogTest, ForgetsDeletedRecordsAcrossReopen) {
  config.segment_bytes = 300;
  open();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(append(batch_of(std::to_string(i), 2)));
  ASSERT_TRUE(shard.block_on(log->delete_records(11)));
  EXPECT_EQ(log->start_offset(), 11);
  EXPECT_EQ(read(10).error().code, ErrorCode::kOffsetOutOfRange);
  EXPECT_EQ(values().size(), 29u);
  crash();
  open();
  EXPECT_EQ(log->start_offset(), 11);
  EXPECT_EQ(shard.block_on(log->delete_records(41)).error().code, ErrorCode::kOffsetOutOfRange);
}

TEST_F(LogTest, TruncatesAtABatch) {
  config.segment_bytes = 300;
  open();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(append(produced(batch_of(std::to_string(i), 2), 9, 0, i * 2)));
  }
  EXPECT_EQ(shard.block_on(log->truncate_to(11)).error().code, ErrorCode::kInvalidArgument);
  ASSERT_TRUE(shard.block_on(log->truncate_to(12)));
  EXPECT_EQ(log->high_watermark(), 12);
  EXPECT_EQ(values().size(), 12u);
  // The producer too stands where it stood.
  EXPECT_EQ(append(produced(batch_of("again", 2), 9, 0, 12))->base_offset, 12);
  ASSERT_TRUE(shard.block_on(log->truncate_to(0)));
  EXPECT_EQ(append(batch_of("first"))->base_offset, 0);
  reopen();
  EXPECT_EQ(values(), std::vector<std::string>{"first-0"});
}

io::Task<void> wait_past(PartitionLog& log, Offset offset, bool& reached) {
  reached = co_await log.wait_past(offset, std::chrono::steady_clock::now() + 1h);
}

io::Task<bool> wait_and_append(PartitionLog& log, io::Shard& shard) {
  io::Gate gate;
  bool reached = false;
  shard.spawn(gate, wait_past(log, 0, reached));
  (void)co_await log.append(batch_of("a"), Ack::kDurable);
  co_await gate.close();
  co_return reached;
}

TEST_F(LogTest, WakesWhoWaitsForTheHighWatermark) {
  open();
  EXPECT_TRUE(shard.block_on(wait_and_append(*log, shard)));
  const auto passed = std::chrono::steady_clock::now() + 1ms;
  EXPECT_FALSE(shard.block_on(log->wait_past(1, passed)));
  EXPECT_TRUE(shard.block_on(log->wait_past(0, passed)));
}

io::Task<void> append_one(PartitionLog& log, std::string batch, Ack ack, int& done) {
  const auto appended = co_await log.append(std::move(batch), ack);
  EXPECT_TRUE(appended) << appended.error().text;
  if (appended && ack == Ack::kDurable) EXPECT_LE(appended->next_offset, log.high_watermark());
  ++done;
}

io::Task<int> append_many(PartitionLog& log, io::Shard& shard, int count) {
  io::Gate gate;
  int done = 0;
  for (int i = 0; i < count; ++i) {
    shard.spawn(gate, append_one(log, batch_of(std::to_string(i)), Ack::kDurable, done));
  }
  co_await gate.close();
  co_return done;
}

TEST_F(LogTest, ServesManyAppendsWithFewSyncs) {
  env.files().set_sync_delay(1ms);
  open();
  const size_t syncs = env.files().sync_count();
  const size_t writes = env.files().write_count();
  EXPECT_EQ(shard.block_on(append_many(*log, shard, 1000)), 1000);
  EXPECT_LE(env.files().sync_count() - syncs, 10u);
  EXPECT_LE(env.files().write_count() - writes, 10u);
  EXPECT_EQ(values().size(), 1000u);
}

TEST_F(LogTest, AnswersAWrittenAppendBeforeItIsVisible) {
  open();
  ASSERT_TRUE(append(batch_of("a")));
  env.files().set_sync_delay(200ms);
  const auto written = append(batch_of("b"), Ack::kWritten);
  ASSERT_TRUE(written);
  EXPECT_EQ(log->end_offset(), 2);
  EXPECT_EQ(log->high_watermark(), 1);
  EXPECT_TRUE(
      shard.block_on(log->wait_past(1, std::chrono::steady_clock::now() + std::chrono::hours(1))));
}

TEST_F(LogTest, NeverSyncsAnAppendWhenTheSystemMay) {
  config.durability = Durability::kOs;
  open();
  const size_t syncs = env.files().sync_count();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(append(batch_of("a")));
  EXPECT_EQ(env.files().sync_count(), syncs);
  EXPECT_EQ(log->high_watermark(), 10);
  reopen();
  EXPECT_EQ(values().size(), 10u);
}

TEST_F(LogTest, CloseRefusesLaterAppends) {
  open();
  ASSERT_TRUE(append(batch_of("a")));
  ASSERT_TRUE(shard.block_on(log->close()));
  EXPECT_EQ(append(batch_of("b")).error().code, ErrorCode::kShuttingDown);
  log.reset();
}

}  // namespace
}  // namespace millrace::log

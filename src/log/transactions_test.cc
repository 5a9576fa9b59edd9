#include "log/detail/markers.h"
#include "log/log_test_util.h"

namespace millrace::log {
namespace {

using namespace std::chrono_literals;

io::Task<void> mark(PartitionLog& log, TransactionMarker marker,
                    std::optional<Result<AppendResult>>& to) {
  to.emplace(co_await log.append_marker(marker));
}

/// While the marker is on its way nothing of its transaction may be read.
io::Task<void> mark_and_watch(PartitionLog& log, io::Shard& shard,
                              std::optional<Result<AppendResult>>& ended) {
  io::Gate gate;
  shard.spawn(gate, mark(log, {7, 0, true, 0}, ended));
  size_t looks = 0;
  while (log.high_watermark() < 3) {
    EXPECT_EQ(log.last_stable_offset(), 0);
    ++looks;
    co_await shard.sleep(1ms);
  }
  EXPECT_GT(looks, 0u);
  co_await gate.close();
}

io::Task<bool> wait_and_mark(PartitionLog& log, io::Shard& shard) {
  io::Gate gate;
  std::optional<Result<AppendResult>> ended;
  shard.spawn(gate, mark(log, {7, 0, false, 0}, ended));
  const auto deadline = std::chrono::steady_clock::now() + 30s;
  const bool past = co_await log.wait_past(0, deadline, Isolation::kCommitted);
  co_await gate.close();
  co_return past;
}

class TransactionTest : public LogTest {
 protected:
  /// One transactional batch of producer `id`, one record.
  Result<AppendResult> send(int64_t id, int32_t sequence, const std::string& value,
                            int16_t epoch = 0) {
    return append(transactional(produced(batch_of(value), id, epoch, sequence)));
  }
  Result<AppendResult> end(int64_t id, bool commit, int16_t epoch = 0, int32_t coordinator = 0) {
    return shard.block_on(log->append_marker({id, epoch, commit, coordinator}));
  }
  ProducerEntry producer(int64_t id) {
    for (const auto& entry : log->producers()) {
      if (entry.producer_id == id) return entry;
    }
    return {};
  }
};

TEST_F(TransactionTest, AnOpenTransactionHoldsBackCommittedReaders) {
  open();
  ASSERT_TRUE(append(batch_of("before")));
  ASSERT_TRUE(send(7, 0, "a"));
  ASSERT_TRUE(append(batch_of("after")));
  EXPECT_EQ(log->high_watermark(), 3);
  EXPECT_EQ(log->last_stable_offset(), 1);
  EXPECT_EQ(producer(7).transaction_first_offset, 1);
  EXPECT_EQ(committed(), (std::vector<std::string>{"before-0"}));
  EXPECT_EQ(values().size(), 3u);
  const auto marker = end(7, true);
  ASSERT_TRUE(marker) << marker.error().text;
  EXPECT_EQ(marker->base_offset, 3);
  EXPECT_EQ(marker->next_offset, 4);
  EXPECT_EQ(log->last_stable_offset(), 4);
  EXPECT_EQ(producer(7).transaction_first_offset, -1);
  EXPECT_EQ(producer(7).coordinator_epoch, 0);
  EXPECT_EQ(committed(), (std::vector<std::string>{"before-0", "a-0", "after-0"}));
  ASSERT_TRUE(send(7, 1, "b"));  // the sequence goes on within an epoch
  EXPECT_EQ(log->last_stable_offset(), 4);
}

TEST_F(TransactionTest, ReadersAreToldWhatWasAborted) {
  open();
  ASSERT_TRUE(send(7, 0, "lost"));
  ASSERT_TRUE(send(8, 0, "kept"));
  ASSERT_TRUE(end(7, false));
  EXPECT_EQ(log->last_stable_offset(), 1);
  auto result = read(0, 1u << 20, Isolation::kCommitted);
  ASSERT_EQ(result->aborted.size(), 1u);
  EXPECT_EQ(result->aborted[0].producer_id, 7);
  EXPECT_EQ(result->aborted[0].first_offset, 0);
  EXPECT_EQ(result->next_offset, 1);
  EXPECT_EQ(result->last_stable_offset, 1);
  EXPECT_EQ(result->high_watermark, 3);
  ASSERT_TRUE(end(8, true));
  ASSERT_TRUE(send(7, 1, "kept too"));
  ASSERT_TRUE(end(7, true));
  EXPECT_EQ(committed(), (std::vector<std::string>{"kept-0", "kept too-0"}));
  EXPECT_TRUE(read(3, 1u << 20, Isolation::kCommitted)->aborted.empty());
  EXPECT_TRUE(read(0)->aborted.empty());
}

TEST_F(TransactionTest, AMarkerWithAHigherEpochFencesTheEpochBefore) {
  open();
  ASSERT_TRUE(send(7, 0, "a", 4));
  ASSERT_TRUE(end(7, true, 5));
  EXPECT_EQ(send(7, 1, "zombie", 4).error().code, ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(end(7, false, 4).error().code, ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(send(7, 1, "gap", 5).error().code, ErrorCode::kOutOfOrderSequence);
  EXPECT_TRUE(send(7, 0, "b", 5));
  EXPECT_EQ(producer(7).epoch, 5);
  EXPECT_EQ(producer(7).transaction_first_offset, 2);
  // Also where the producer never wrote.
  ASSERT_TRUE(end(9, false, 3, 12));
  EXPECT_EQ(send(9, 0, "zombie", 2).error().code, ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(end(9, false, 3, 11).error().code, ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(producer(9).coordinator_epoch, 12);
  EXPECT_EQ(producer(9).last_sequence, -1);
}

TEST_F(TransactionTest, ABatchOutsideOfTheOpenTransactionIsRefused) {
  open();
  ASSERT_TRUE(send(7, 0, "a"));
  EXPECT_EQ(append(produced(batch_of("b"), 7, 0, 1)).error().code, ErrorCode::kInvalidTransaction);
  ASSERT_TRUE(end(7, true));
  EXPECT_TRUE(append(produced(batch_of("b"), 7, 0, 1)));
}

TEST_F(TransactionTest, TransactionsSurviveReopenAndCrash) {
  config.segment_bytes = 600;
  open();
  std::vector<std::string> expected;
  int32_t sequences[3] = {0, 0, 0};
  ASSERT_TRUE(send(100, 0, "open for ever"));
  ASSERT_TRUE(end(100, false));
  for (int round = 0; round < 40; ++round) {
    const int64_t id = round % 3;
    const auto value = "round " + std::to_string(round);
    ASSERT_TRUE(send(id, sequences[id]++, value));
    if (round % 4 == 1) {
      reopen();
    } else if (round % 4 == 3) {
      crash();
      open();
    }
    ASSERT_EQ(producer(id).transaction_first_offset, log->last_stable_offset());
    const bool commit = round % 5 != 0;
    if (commit) expected.push_back(value + "-0");
    ASSERT_TRUE(end(id, commit));
    ASSERT_EQ(committed(), expected);
  }
  for (int i = 0; i < 2; ++i) {
    reopen();
    EXPECT_EQ(committed(), expected);
    EXPECT_EQ(committed(1), expected);
    crash();
    open();
    EXPECT_EQ(committed(), expected);
  }
}

TEST_F(TransactionTest, ATransactionOverManySegmentsIsAbortedInAll) {
  config.segment_bytes = 300;
  open();
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(send(7, i, "lost"));
  ASSERT_TRUE(end(7, false));
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(append(batch_of("kept")));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(committed().size(), 12u);
    const auto first = read(0, 1, Isolation::kCommitted);
    ASSERT_EQ(first->aborted.size(), 1u);
    EXPECT_EQ(first->aborted[0].first_offset, 0);
    if (i == 0) reopen();
  }
}

TEST_F(TransactionTest, TheAbortedIndexIsMadeAnewWhenDamagedAndGoesWithItsSegment) {
  config.segment_bytes = 300;
  open();
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(send(7, i, "lost"));
    ASSERT_TRUE(end(7, false));
  }
  ASSERT_TRUE(append(batch_of("kept")));
  reopen();
  size_t damaged = 0;
  for (const auto& name : *env.files().list(folder)) {
    if (!name.ends_with(".txnindex")) continue;
    env.files().overwrite(folder + "/" + name, 12, "xx");
    ++damaged;
  }
  EXPECT_GE(damaged, 3u);
  EXPECT_EQ(committed(), (std::vector<std::string>{"kept-0"}));
  ASSERT_TRUE(shard.block_on(log->delete_records(log->high_watermark())));
  size_t left = 0;
  for (const auto& name : *env.files().list(folder)) left += name.ends_with(".txnindex");
  EXPECT_LE(left, 1u);
}

TEST_F(TransactionTest, AFailedMarkerLeavesItsTransactionOpen) {
  open();
  ASSERT_TRUE(send(7, 0, "a"));
  for (const size_t step : {0, 1}) {  // the write, the sync
    env.files().fail_after(step, ErrorCode::kDiskFull);
    EXPECT_FALSE(end(7, false));
    EXPECT_EQ(log->last_stable_offset(), 0);
  }
  ASSERT_TRUE(end(7, true, 1));
  EXPECT_EQ(committed(), (std::vector<std::string>{"a-0"}));
}

TEST_F(TransactionTest, NothingOfATransactionIsStableBeforeItsMarkerIsDurable) {
  open();
  ASSERT_TRUE(send(7, 0, "a"));
  env.files().set_sync_delay(30ms);
  io::Gate gate;
  std::optional<Result<AppendResult>> ended;
  ASSERT_TRUE(append(batch_of("b"), Ack::kWritten));
  shard.block_on(mark_and_watch(*log, shard, ended));
  ASSERT_TRUE(*ended);
  EXPECT_EQ(log->last_stable_offset(), 3);
}

TEST_F(TransactionTest, AWaitForTheStableOffsetEndsWithTheMarker) {
  open();
  ASSERT_TRUE(send(7, 0, "a"));
  const auto now = std::chrono::steady_clock::now();
  EXPECT_TRUE(shard.block_on(log->wait_past(0, now)));
  EXPECT_FALSE(shard.block_on(log->wait_past(0, now, Isolation::kCommitted)));
  EXPECT_TRUE(shard.block_on(wait_and_mark(*log, shard)));
}

TEST_F(TransactionTest, AProducerWithAnOpenTransactionIsNotForgotten) {
  config.segment_bytes = 300;
  open();
  ASSERT_TRUE(send(7, 0, "a"));
  ASSERT_TRUE(append(produced(batch_of("b"), 8, 0, 0)));
  env.set_now_ms(env.now_ms() + 48LL * 3600 * 1000);
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(append(batch_of("x")));
  ASSERT_EQ(log->producers().size(), 1u);
  EXPECT_EQ(producer(7).transaction_first_offset, 0);
  EXPECT_EQ(log->last_stable_offset(), 0);
}

TEST(Markers, AreReadAsTheyWereWritten) {
  for (const bool commit : {false, true}) {
    const TransactionMarker marker{99, 3, commit, 17};
    const auto batch = detail::marker_batch(marker, 1234);
    const auto headers = validate_batches(batch, true);
    ASSERT_TRUE(headers) << headers.error().text;
    const auto& header = headers->front();
    EXPECT_TRUE(header.control() && header.transactional());
    EXPECT_EQ(header.base_sequence, -1);
    EXPECT_EQ(header.max_timestamp, 1234);
    const auto read = detail::parse_marker(header, batch);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->producer_id, 99);
    EXPECT_EQ(read->producer_epoch, 3);
    EXPECT_EQ(read->commit, commit);
    EXPECT_EQ(read->coordinator_epoch, 17);
    // Key and value as Kafka's schema has them.
    const std::string key = {0, 0, 0, static_cast<char>(commit)};
    EXPECT_NE(batch.find(key + std::string("\x0c\0\0\0\0\0\x11", 7)), std::string::npos);
    for (size_t kept = BatchHeader::kBytes; kept < batch.size(); ++kept) {
      EXPECT_FALSE(detail::parse_marker(header, std::string_view(batch).substr(0, kept)));
    }
  }
}

}  // namespace
}  // namespace millrace::log

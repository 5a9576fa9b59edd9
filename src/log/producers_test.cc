#include "log/detail/producers.h"

#include "log/log_test_util.h"

namespace millrace::log {
namespace {

constexpr int64_t kId = 42;

TEST_F(LogTest, AnswersARetryWithTheOffsetsOfTheFirstTime) {
  open();
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(append(produced(batch_of("a", 2), kId, 0, i * 2))->base_offset, i * 2);
  }
  for (int i = 0; i < 5; ++i) {
    const auto retry = append(produced(batch_of("a", 2), kId, 0, i * 2));
    ASSERT_TRUE(retry) << retry.error().text;
    EXPECT_TRUE(retry->duplicate);
    EXPECT_EQ(retry->base_offset, i * 2);
    EXPECT_EQ(retry->next_offset, i * 2 + 2);
  }
  EXPECT_EQ(log->high_watermark(), 10);
  ASSERT_TRUE(append(produced(batch_of("a", 2), kId, 0, 10)));
  // The first of now six is forgotten.
  EXPECT_EQ(append(produced(batch_of("a", 2), kId, 0, 0)).error().code,
            ErrorCode::kOutOfOrderSequence);
}

TEST_F(LogTest, RefusesAGapAndAZombie) {
  open();
  ASSERT_TRUE(append(produced(batch_of("a"), kId, 1, 0)));
  EXPECT_EQ(append(produced(batch_of("b"), kId, 1, 2)).error().code,
            ErrorCode::kOutOfOrderSequence);
  EXPECT_EQ(append(produced(batch_of("b"), kId, 0, 1)).error().code,
            ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(append(produced(batch_of("b"), kId, 2, 1)).error().code,
            ErrorCode::kOutOfOrderSequence);
  EXPECT_TRUE(append(produced(batch_of("b"), kId, 2, 0)));
  EXPECT_TRUE(append(produced(batch_of("c"), kId + 1, 0, 700)));  // its state may have expired
  EXPECT_EQ(values(), (std::vector<std::string>{"a-0", "b-0", "c-0"}));
}

TEST_F(LogTest, TakesWhatIsNewAmongRetries) {
  open();
  const auto a = produced(batch_of("a", 2), kId, 0, 0);
  const auto b = produced(batch_of("b"), kId, 0, 2);
  const auto c = produced(batch_of("c"), kId, 0, 3);
  const auto other = batch_of("other");
  ASSERT_TRUE(append(a + b));
  ASSERT_TRUE(append(batch_of("between")));
  const auto some = append(a + other + b + c);
  ASSERT_TRUE(some) << some.error().text;
  EXPECT_FALSE(some->duplicate);
  EXPECT_EQ(some->base_offset, 0);
  EXPECT_EQ(some->next_offset, 6);
  const auto all = append(b + c);
  EXPECT_TRUE(all->duplicate);
  EXPECT_EQ(all->base_offset, 2);
  EXPECT_EQ(all->next_offset, 6);
  // A gap among them refuses them all.
  EXPECT_EQ(append(c + produced(batch_of("d"), kId, 0, 4) + produced(batch_of("f"), kId, 0, 6))
                .error()
                .code,
            ErrorCode::kOutOfOrderSequence);
  EXPECT_TRUE(append(produced(batch_of("d"), kId, 0, 4)));
  const std::vector<std::string> expected = {"a-0",     "a-1", "b-0", "between-0",
                                             "other-0", "c-0", "d-0"};
  EXPECT_EQ(values(), expected);
  crash();
  open();
  EXPECT_EQ(values(), expected);
}

TEST_F(LogTest, ManyProducersAreSmall) {
  open();
  for (int64_t id = 0; id < 10'000; ++id) {
    ASSERT_TRUE(append(produced(batch_of("x"), id, 0, 0), Ack::kWritten));
  }
  EXPECT_EQ(log->producers().size(), 10'000u);
  EXPECT_LE(sizeof(detail::Producers::State), 112u);
  reopen();
  EXPECT_EQ(log->producers().size(), 10'000u);
  EXPECT_TRUE(append(produced(batch_of("x"), 9'999, 0, 0))->duplicate);
}

TEST_F(LogTest, WrapsSequencesAtTheirEnd) {
  open();
  ASSERT_TRUE(append(produced(batch_of("a", 3), kId, 0, INT32_MAX - 2)));
  EXPECT_TRUE(append(produced(batch_of("b", 2), kId, 0, 0)));
  ASSERT_TRUE(append(produced(batch_of("c", 1), kId, 0, 2)));
  ASSERT_TRUE(append(produced(batch_of("d", 2), kId + 1, 0, INT32_MAX)));
  EXPECT_TRUE(append(produced(batch_of("e", 1), kId + 1, 0, 1)));
  EXPECT_TRUE(append(produced(batch_of("a", 3), kId, 0, INT32_MAX - 2))->duplicate);
}

TEST_F(LogTest, KnowsItsProducersAfterReopenAndCrash) {
  config.segment_bytes = 400;
  open();
  int32_t sequence = 0;
  for (int round = 0; round < 6; ++round) {
    for (int i = 0; i < 7; ++i) {
      ASSERT_TRUE(append(produced(batch_of("x"), kId, 3, sequence++)));
    }
    if (round % 2) {
      reopen();
    } else {
      crash();
      open();
    }
    EXPECT_TRUE(append(produced(batch_of("x"), kId, 3, sequence - 1))->duplicate);
    EXPECT_EQ(append(produced(batch_of("x"), kId, 3, sequence + 1)).error().code,
              ErrorCode::kOutOfOrderSequence);
    const auto producers = log->producers();
    ASSERT_EQ(producers.size(), 1u);
    EXPECT_EQ(producers[0].last_sequence, sequence - 1);
    EXPECT_EQ(producers[0].last_offset, log->high_watermark() - 1);
  }
  EXPECT_EQ(log->high_watermark(), sequence);
}

TEST_F(LogTest, KnowsItsProducersWithoutSnapshots) {
  config.segment_bytes = 400;
  open();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(append(produced(batch_of("x"), kId, 0, i)));
  crash();
  const auto names = env.files().list(folder);
  for (const auto& name : *names) {
    if (name.ends_with(".producers")) ASSERT_TRUE(env.files().remove(folder + "/" + name));
  }
  open();
  EXPECT_TRUE(append(produced(batch_of("x"), kId, 0, 19))->duplicate);
  EXPECT_FALSE(append(produced(batch_of("x"), kId, 0, 20))->duplicate);
}

TEST_F(LogTest, KeepsProducersOfReplayedHistory) {
  config.segment_bytes = 400;
  open();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(append(produced(batch_of("x", 1, 86'400), kId, 0, i)));
  EXPECT_TRUE(append(produced(batch_of("x", 1, 86'400), kId, 0, 19))->duplicate);
}

TEST_F(LogTest, AFailedAppendLeavesTheSequenceAsItWas) {
  open();
  ASSERT_TRUE(append(produced(batch_of("a"), kId, 0, 0)));
  env.files().fail_after(0, ErrorCode::kDiskFull);
  EXPECT_EQ(append(produced(batch_of("b"), kId, 0, 1)).error().code, ErrorCode::kDiskFull);
  const auto again = append(produced(batch_of("b"), kId, 0, 1));
  ASSERT_TRUE(again) << again.error().text;
  EXPECT_FALSE(again->duplicate);
  EXPECT_EQ(values(), (std::vector<std::string>{"a-0", "b-0"}));
}

io::Task<void> keep(PartitionLog& log, std::string batch, std::optional<Result<AppendResult>>& to) {
  to.emplace(co_await log.append(std::move(batch), Ack::kDurable));
}

io::Task<void> retry_in_flight(PartitionLog& log, io::Shard& shard) {
  io::Gate gate;
  std::optional<Result<AppendResult>> first;
  std::optional<Result<AppendResult>> retry;
  std::optional<Result<AppendResult>> next;
  shard.spawn(gate, keep(log, produced(batch_of("a", 2), kId, 0, 0), first));
  shard.spawn(gate, keep(log, produced(batch_of("a", 2), kId, 0, 0), retry));
  shard.spawn(gate, keep(log, produced(batch_of("b", 1), kId, 0, 2), next));
  co_await gate.close();
  EXPECT_FALSE((*first)->duplicate);
  EXPECT_TRUE((*retry)->duplicate);
  EXPECT_EQ((*retry)->base_offset, (*first)->base_offset);
  EXPECT_EQ((*next)->base_offset, 2);
}

TEST_F(LogTest, RecognisesARetryOfWhatIsStillInFlight) {
  open();
  shard.block_on(retry_in_flight(*log, shard));
  EXPECT_EQ(log->high_watermark(), 3);
}

TEST(Producers, RefuseADamagedSnapshot) {
  detail::Producers producers;
  BatchHeader header;
  header.producer_id = kId;
  header.producer_epoch = 0;
  header.base_sequence = 0;
  producers.apply(header, 1, nullptr);
  std::string bytes;
  producers.encode(bytes);
  std::string_view whole = bytes;
  EXPECT_TRUE(producers.decode(whole));
  EXPECT_TRUE(whole.empty());
  EXPECT_EQ(producers.entries().size(), 1u);
  for (size_t kept = 0; kept < bytes.size(); ++kept) {
    std::string_view part = std::string_view(bytes).substr(0, kept);
    EXPECT_FALSE(producers.decode(part)) << kept;
  }
}

}  // namespace
}  // namespace millrace::log

#include "broker/broker_test_util.h"

namespace millrace::broker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto kPatience = std::chrono::seconds(30);

auto later() { return std::chrono::steady_clock::now() + kPatience; }

TEST_F(BrokerTest, AppendsAndReadsAcrossShards) {
  auto made = create(topic("t", 4));
  ASSERT_TRUE(made) << made.error().text;
  std::set<size_t> shards;
  for (const auto& partition : (*made)->partitions) {
    shards.insert(partition->shard().index());
    auto first = append(*partition, batch({"a", "b"}));
    ASSERT_TRUE(first) << first.error().text;
    EXPECT_EQ(first->base_offset, 0);
    EXPECT_EQ(first->next_offset, 2);
    ASSERT_TRUE(append(*partition, batch({"c"})));
    EXPECT_THAT(values(*partition), ElementsAre("a", "b", "c"));
    EXPECT_EQ(partition->high_watermark(), 3);
    EXPECT_EQ(partition->start_offset(), 0);
    EXPECT_GT(partition->size_bytes(), 0u);
  }
  EXPECT_EQ(shards.size(), 2u);
  const auto text = env_.metrics().render();
  EXPECT_THAT(text, HasSubstr("millrace_broker_records_in_total{topic=\"t\"} 12\n"));
  EXPECT_THAT(text, HasSubstr("millrace_broker_partitions 4\n"));
}

TEST_F(BrokerTest, RefusesBytesThatAreNoBatch) {
  auto made = create(topic("t"));
  auto& partition = *(*made)->partitions[0];
  auto damaged = batch({"a"});
  damaged.back() ^= 1;
  EXPECT_EQ(append(partition, damaged).error().code, ErrorCode::kCorruptRecord);
  EXPECT_FALSE(append(partition, "x"));
  EXPECT_EQ(partition.high_watermark(), 0);
  EXPECT_THAT(env_.metrics().render(),
              HasSubstr("millrace_broker_appends_failed_total{topic=\"t\"} 2\n"));
}

TEST_F(BrokerTest, PassesADiskFullOnAndSeesNothingOfIt) {
  auto made = create(topic("t"));
  auto& partition = *(*made)->partitions[0];
  ASSERT_TRUE(append(partition, batch({"a"})));
  env_.files().fail_after(0, ErrorCode::kDiskFull, 100);
  EXPECT_EQ(append(partition, batch({"b"})).error().code, ErrorCode::kDiskFull);
  env_.files().heal();
  EXPECT_EQ(partition.high_watermark(), 1);
  EXPECT_THAT(values(partition), ElementsAre("a"));
}

class NoB final : public ProduceCheck {
 public:
  Result<> check(const catalog::Object& topic, std::string_view batches) override {
    Result<> good;
    auto read = log::for_each_record(batches, false, [&](const log::RecordView& record) {
      if (record.value == "b") good = Error{ErrorCode::kInvalidRecord, topic.name + ": b"};
    });
    return read ? good : read;
  }
};

TEST_F(BrokerTest, AsksTheCheckWhenTheTopicRejects) {
  NoB check;
  broker_->set_produce_check(&check);
  auto strict = topic("strict");
  strict.columns = {{.name = "a", .type = "BIGINT"}};
  auto lax = strict;
  lax.name = "lax";
  strict.options = {{"on_error", "reject"}};
  auto made = create(strict);
  auto& partition = *(*made)->partitions[0];
  auto refused = append(partition, batch({"a", "b"}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidRecord);
  EXPECT_EQ(refused.error().text, "strict: b");
  EXPECT_TRUE(append(partition, batch({"a"})));
  EXPECT_EQ(partition.high_watermark(), 1);
  EXPECT_TRUE(append(*(*create(lax))->partitions[0], batch({"b"})));

  strict.options = {{"on_error", "skip"}};
  ASSERT_TRUE(create(strict, true));
  EXPECT_TRUE(append(partition, batch({"b"})));  // the same partition under its new rules
}

TEST_F(BrokerTest, RefusesTimestampsOutsideTheTopicsBounds) {
  auto bounded = topic("t");
  bounded.options = {{"message.timestamp.before.max.ms", "1000"}};
  auto& partition = *(*create(bounded))->partitions[0];
  const TimestampMs now = env_.now_ms();
  EXPECT_EQ(append(partition, batch({"a"}, now - 1001)).error().code, ErrorCode::kInvalidTimestamp);
  EXPECT_EQ(append(partition, batch({"a"}, now + 3'600'001)).error().code,
            ErrorCode::kInvalidTimestamp);
  EXPECT_TRUE(append(partition, batch({"a"}, now - 1000)));
  auto& old = *(*create(topic("old")))->partitions[0];
  EXPECT_TRUE(append(old, batch({"a"}, 0)));
}

TEST_F(BrokerTest, WakesWhoWaitsForRecords) {
  auto made = create(topic("t"));
  auto& partition = *(*made)->partitions[0];
  std::thread waiting(
      [&] { EXPECT_TRUE(runtime_.shard(0).block_on(partition.wait_past(0, later()))); });
  EXPECT_TRUE(append(partition, batch({"a"}), log::Ack::kWritten));
  waiting.join();
  EXPECT_FALSE(shard().block_on(partition.wait_past(1, std::chrono::steady_clock::now())));
}

TEST_F(BrokerTest, WakesWhoWaitsWhenTheTopicGoes) {
  auto made = create(topic("t"));
  auto& partition = *(*made)->partitions[0];
  std::thread waiting(
      [&] { EXPECT_FALSE(runtime_.shard(1).block_on(partition.wait_past(0, later()))); });
  ASSERT_TRUE(drop("t"));
  waiting.join();
}

TEST_F(BrokerTest, TellsListenersThatTheHighWatermarkMoved) {
  auto made = create(topic("t"));
  auto& partition = *(*made)->partitions[0];
  std::mutex mutex;
  std::condition_variable moved;
  Offset seen = -1;
  partition.on_advance("test", [&] {
    std::lock_guard lock(mutex);
    seen = partition.high_watermark();
    moved.notify_one();
  });
  const auto wait_for = [&](Offset offset) {
    std::unique_lock lock(mutex);
    return moved.wait_for(lock, kPatience, [&] { return seen >= offset; });
  };
  EXPECT_TRUE(wait_for(0));  // once when it is added
  EXPECT_TRUE(append(partition, batch({"a"}), log::Ack::kDurable));
  EXPECT_TRUE(wait_for(1));
  EXPECT_TRUE(append(partition, batch({"b", "c"}), log::Ack::kWritten));
  EXPECT_TRUE(wait_for(3));
  partition.on_advance("test", nullptr);
  EXPECT_TRUE(append(partition, batch({"d"})));
  EXPECT_EQ(seen, 3);
}

TEST_F(BrokerTest, DeletesRecordsAndLooksUpTimes) {
  auto made = create(topic("t"));
  auto& partition = *(*made)->partitions[0];
  ASSERT_TRUE(append(partition, batch({"a"}, 10)));
  ASSERT_TRUE(append(partition, batch({"b"}, 20)));
  auto at = shard().block_on(partition.offset_for_time(11));
  ASSERT_TRUE(at);
  EXPECT_EQ(at->offset, 1);
  EXPECT_EQ(shard().block_on(partition.max_timestamp())->timestamp, 20);
  ASSERT_TRUE(shard().block_on(partition.delete_records(1)));
  EXPECT_EQ(partition.start_offset(), 1);
  ASSERT_TRUE(shard().block_on(partition.hold("me", 1)));
  ASSERT_TRUE(shard().block_on(partition.hold("me", std::nullopt)));
}

TEST_F(BrokerTest, FailsCallsOnceItIsClosed) {
  auto made = create(topic("t"));
  auto partition = (*made)->partitions[0];
  ASSERT_TRUE(append(*partition, batch({"a"})));
  ASSERT_TRUE(shard().block_on(broker_->close()));
  EXPECT_EQ(append(*partition, batch({"a"})).error().code, ErrorCode::kShuttingDown);
  EXPECT_EQ(shard().block_on(partition->read(0, 1)).error().code, ErrorCode::kShuttingDown);
  EXPECT_EQ(create(topic("u")).error().code, ErrorCode::kShuttingDown);
  EXPECT_EQ(drop("t").error().code, ErrorCode::kShuttingDown);
  EXPECT_FALSE(shard().block_on(broker_->next_producer_id()));
  EXPECT_EQ(partition->high_watermark(), 1);
}

}  // namespace
}  // namespace millrace::broker

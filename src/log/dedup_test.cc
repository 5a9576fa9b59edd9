#include "log/log_test_util.h"

namespace millrace::log {
namespace {

using namespace std::chrono_literals;

class DedupTest : public LogTest {
 protected:
  DedupTest() { config.dedup = {.enabled = true, .header = "", .count = 100, .age_ms = 1000}; }

  std::string batch(const std::vector<std::string>& keys,
                    Compression compression = Compression::kNone) {
    BatchBuilder builder(compression);
    for (const auto& key : keys) {
      const auto value = "value " + std::to_string(next_value_++);
      if (key == "null") {
        builder.add(env.now_ms(), std::nullopt, value);
      } else {
        builder.add(env.now_ms(), key, value, {{"id", key}});
      }
    }
    return builder.finish();
  }
  /// "offset key" of each record.
  std::vector<std::string> kept() {
    std::vector<std::string> out;
    for (Offset next = 0; next < log->high_watermark();) {
      const auto chunk = read(next);
      EXPECT_TRUE(chunk);
      if (!chunk || chunk->batches.empty()) break;
      EXPECT_TRUE(for_each_record(chunk->batches, false, [&](const RecordView& record) {
        out.push_back(std::to_string(record.offset) + " " +
                      std::string(record.key.value_or("null")));
      }));
      next = chunk->next_offset;
    }
    return out;
  }
  int next_value_ = 0;
};

TEST_F(DedupTest, LeavesOutWhatItHadAndAnswersAsEver) {
  open();
  EXPECT_EQ(append(batch({"a", "b", "a", "null", "null"}))->next_offset, 5);
  const auto second = append(batch({"b", "c", "a"}, Compression::kLz4));
  EXPECT_EQ(second->base_offset, 5);
  EXPECT_EQ(second->next_offset, 8);
  EXPECT_EQ(append(batch({"c", "a"}))->base_offset, 8);  // nothing of it stays
  EXPECT_EQ(append(batch({"d"}))->base_offset, 10);
  EXPECT_EQ(kept(), (std::vector<std::string>{"0 a", "1 b", "3 null", "4 null", "6 c", "10 d"}));
  reopen();
  EXPECT_EQ(append(batch({"a", "b", "c", "d", "e"}))->base_offset, 11);
  EXPECT_EQ(kept().back(), "15 e");
  EXPECT_EQ(kept().size(), 7u);
}

TEST_F(DedupTest, ForgetsByAgeAndByCount) {
  config.dedup.count = 3;
  open();
  ASSERT_TRUE(append(batch({"a", "b", "c"})));
  ASSERT_TRUE(append(batch({"a"})));
  ASSERT_TRUE(append(batch({"d"})));
  ASSERT_TRUE(append(batch({"a", "c"})));
  EXPECT_EQ(kept(), (std::vector<std::string>{"0 a", "1 b", "2 c", "4 d", "5 a"}));
  env.set_now_ms(env.now_ms() + 1001);
  ASSERT_TRUE(append(batch({"a"})));
  EXPECT_EQ(kept().back(), "7 a");
  env.set_now_ms(env.now_ms() + 1001);
  reopen();
  ASSERT_TRUE(append(batch({"a"})));
  EXPECT_EQ(kept().back(), "8 a");
}

TEST_F(DedupTest, GoesByAHeaderWhenToldSo) {
  config.dedup.header = "id";
  open();
  BatchBuilder builder;
  builder.add(1, "k1", "v", {{"id", "x"}});
  builder.add(1, "k2", "v", {{"other", "y"}, {"id", "x"}});
  builder.add(1, "k3", "v", {{"id", std::nullopt}});
  builder.add(1, "k3", "v");
  ASSERT_TRUE(append(builder.finish()));
  EXPECT_EQ(kept(), (std::vector<std::string>{"0 k1", "2 k3", "3 k3"}));
}

TEST_F(DedupTest, AnAppendThatFailsIsNoReasonToLeaveOutAnother) {
  open();
  ASSERT_TRUE(append(batch({"a"})));
  env.files().fail_after(0, ErrorCode::kDiskFull);
  EXPECT_FALSE(append(batch({"b"})));
  env.files().heal();
  EXPECT_EQ(append(batch({"b"}))->base_offset, 1);
  EXPECT_EQ(kept(), (std::vector<std::string>{"0 a", "1 b"}));
}

io::Task<void> append_into(PartitionLog& log, std::string batch, Result<AppendResult>& out) {
  out = co_await log.append(std::move(batch), Ack::kDurable);
}
io::Task<void> append_both(PartitionLog& log, io::Shard& shard, std::string first,
                           std::string second, std::vector<Result<AppendResult>>& out) {
  io::Gate gate;
  shard.spawn(gate, append_into(log, std::move(first), out[0]));
  shard.spawn(gate, append_into(log, std::move(second), out[1]));
  co_await gate.close();
}

TEST_F(DedupTest, ADuplicateOfWhatIsOnItsWayWaitsForItsOutcome) {
  open();
  ASSERT_TRUE(append(batch({"a"})));
  for (const bool fails : {true, false}) {
    const std::string key = fails ? "b" : "c";
    if (fails) env.files().fail_after(1, ErrorCode::kIo);  // the sync of the first
    std::vector<Result<AppendResult>> out(2, AppendResult{});
    shard.block_on(append_both(*log, shard, batch({key}), batch({key}), out));
    EXPECT_EQ(out[0].has_value(), !fails);
    EXPECT_TRUE(out[1]);
  }
  EXPECT_EQ(kept(), (std::vector<std::string>{"0 a", "1 b", "2 c"}));
}

TEST_F(DedupTest, KeepsTheSequenceOfAnIdempotentProducer) {
  open();
  ASSERT_TRUE(append(produced(batch({"a", "b"}), 7, 0, 0)));
  EXPECT_TRUE(append(produced(batch({"a", "b"}), 7, 0, 0))->duplicate);
  EXPECT_EQ(append(produced(batch({"a", "b"}), 7, 0, 2))->base_offset, 2);
  EXPECT_EQ(append(produced(batch({"c"}), 7, 0, 4))->base_offset, 4);
  EXPECT_EQ(kept(), (std::vector<std::string>{"0 a", "1 b", "4 c"}));
}

}  // namespace
}  // namespace millrace::log

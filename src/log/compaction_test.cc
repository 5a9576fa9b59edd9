#include <map>
#include <random>

#include "log/detail/rebatch.h"
#include "log/log_test_util.h"

namespace millrace::log {
namespace {

using namespace std::chrono_literals;

struct Row {
  std::optional<std::string> key;
  std::optional<std::string> value;
  bool operator==(const Row&) const = default;
};

std::string rows(const std::vector<Row>& rows, TimestampMs timestamp = 1,
                 Compression compression = Compression::kNone) {
  BatchBuilder builder(compression);
  for (const auto& row : rows) builder.add(timestamp, row.key, row.value);
  return builder.finish();
}

class CompactionTest : public LogTest {
 protected:
  CompactionTest() {
    config.cleanup_compact = true;
    config.cleanup_delete = false;
    config.min_cleanable_dirty_ratio = 0;
    config.segment_bytes = 400;
  }
  Result<> compact() { return shard.block_on(log->compact()); }
  /// So that all before it is closed.
  void roll() {
    auto filler = rows({{std::nullopt, std::string(config.segment_bytes, 'x')}});
    ASSERT_TRUE(append(filler));
    ASSERT_TRUE(append(rows({{std::nullopt, "end"}})));
  }
  /// Every record from `from` on, by offset.
  std::map<Offset, Row> all(Offset from = 0, Isolation isolation = Isolation::kUncommitted) {
    std::map<Offset, Row> out;
    const Offset end =
        isolation == Isolation::kCommitted ? log->last_stable_offset() : log->high_watermark();
    for (Offset next = std::max(from, log->start_offset()); next < end;) {
      const auto chunk = shard.block_on(log->read(next, 700, isolation));
      EXPECT_TRUE(chunk) << chunk.error().text;
      if (!chunk || chunk->batches.empty()) break;
      EXPECT_GT(chunk->next_offset, next);
      EXPECT_TRUE(validated(chunk->batches));
      EXPECT_TRUE(for_each_record(chunk->batches, false, [&](const RecordView& record) {
        if (record.offset < next) return;
        auto& row = out[record.offset];
        if (record.key) row.key = std::string(*record.key);
        if (record.value) row.value = std::string(*record.value);
      }));
      next = chunk->next_offset;
    }
    return out;
  }
  /// The records whose value has no filler.
  std::map<Offset, Row> keyed(Offset from = 0) {
    auto out = all(from);
    std::erase_if(out, [](const auto& each) { return !each.second.key; });
    return out;
  }
  static bool validated(std::string_view batches) {
    while (!batches.empty()) {
      const auto header = parse_batch_header(batches);
      if (!header || header->total_bytes() > batches.size()) return false;
      auto walk = detail::RecordWalk::open(batches.substr(0, header->total_bytes()));
      if (!walk) return false;
      detail::RecordSlice record;
      int32_t count = 0;
      for (;;) {
        auto more = walk->next(record);
        if (!more) return false;
        if (!*more) break;
        ++count;
      }
      if (count != header->record_count) return false;
      batches.remove_prefix(header->total_bytes());
    }
    return true;
  }
};

TEST_F(CompactionTest, KeepsTheLastRecordOfEachKeyAtItsOffset) {
  open();
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(append(rows({{"a", std::to_string(i)}, {"b" + std::to_string(i % 3), "x"}})));
  }
  roll();
  const auto before = all();
  const auto bytes = log->size_bytes();
  ASSERT_TRUE(compact());
  EXPECT_LT(log->size_bytes(), bytes / 2);
  const auto after = keyed();
  EXPECT_EQ(after,
            (std::map<Offset, Row>{
                {75, {"b1", "x"}}, {77, {"b2", "x"}}, {78, {"a", "39"}}, {79, {"b0", "x"}}}));
  // From every offset the next record that is left.
  for (Offset from = 0; from < 80; ++from) {
    EXPECT_EQ(keyed(from).begin()->first, after.lower_bound(from)->first) << from;
  }
  EXPECT_EQ(log->start_offset(), 0);
  EXPECT_EQ(log->high_watermark(), static_cast<Offset>(before.size()));
  reopen();
  EXPECT_EQ(keyed(), after);
  crash();
  open();
  EXPECT_EQ(keyed(), after);
  EXPECT_EQ(append(rows({{"a", "new"}}))->base_offset, static_cast<Offset>(before.size()));
  roll();
  ASSERT_TRUE(compact());
  EXPECT_FALSE(keyed().contains(78));
}

TEST_F(CompactionTest, RecordsWithoutAKeyStay) {
  open();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(append(rows({{std::nullopt, "epoch " + std::to_string(i)}, {"k", "v"}})));
  }
  roll();
  ASSERT_TRUE(compact());
  const auto after = all();
  for (Offset i = 0; i < 20; ++i) {
    ASSERT_TRUE(after.contains(2 * i));
    EXPECT_EQ(after.at(2 * i).value, "epoch " + std::to_string(i));
  }
  EXPECT_EQ(keyed().size(), 1u);
}

TEST_F(CompactionTest, TombstonesStayForTheirTimeAfterTheyWereSeen) {
  config.delete_retention_ms = 1000;
  open();
  ASSERT_TRUE(append(rows({{"k", "v"}, {"other", "v"}}, 500)));
  ASSERT_TRUE(append(rows({{"k", std::nullopt}}, 600)));
  roll();
  ASSERT_TRUE(compact());
  EXPECT_EQ(keyed(), (std::map<Offset, Row>{{1, {"other", "v"}}, {2, {"k", std::nullopt}}}));
  // The horizon stands in the base timestamp; the record's own stays.
  const auto found = shard.block_on(log->offset_for_time(600));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->offset, 2);
  EXPECT_EQ(found->timestamp, 600);
  roll();
  ASSERT_TRUE(compact());
  EXPECT_EQ(keyed().size(), 2u);
  env.set_now_ms(env.now_ms() + 1001);
  roll();
  ASSERT_TRUE(compact());
  EXPECT_EQ(keyed(), (std::map<Offset, Row>{{1, {"other", "v"}}}));
}

TEST_F(CompactionTest, EachCodecComesOutAsItWentIn) {
  for (const auto codec :
       {Compression::kGzip, Compression::kSnappy, Compression::kLz4, Compression::kZstd}) {
    (void)env.files().remove_folder(folder);
    open();
    std::vector<Row> batch;
    for (int i = 0; i < 30; ++i) batch.push_back({"k" + std::to_string(i % 10), "some value"});
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(append(rows(batch, 1, codec)));
    roll();
    ASSERT_TRUE(compact());
    EXPECT_EQ(keyed().size(), 10u);
    const auto header = parse_batch_header(read(290)->batches);
    EXPECT_EQ(header->compression(), codec);
    EXPECT_EQ(header->base_offset, 270);
    EXPECT_EQ(header->last_offset(), 299);
    EXPECT_EQ(header->record_count, 10);
    ASSERT_TRUE(close());
  }
}

TEST_F(CompactionTest, NeverPassesAHoldAnOpenSegmentOrTheMinimumLag) {
  open();
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(append(rows({{"k", "value " + std::to_string(i)}})));
  log->hold("view", 10);
  ASSERT_TRUE(compact());
  auto left = keyed();
  for (Offset at = 10; at < 30; ++at) EXPECT_TRUE(left.contains(at));
  EXPECT_LT(left.size(), 30u);
  log->hold("view", std::nullopt);
  config.min_compaction_lag_ms = env.now_ms();
  log->reconfigure(config);
  ASSERT_TRUE(compact());
  EXPECT_EQ(keyed(), left);
  config.min_compaction_lag_ms = 0;
  log->reconfigure(config);
  ASSERT_TRUE(compact());
  left = keyed();
  EXPECT_TRUE(left.contains(29));
  EXPECT_LT(left.size(), 10u);
}

TEST_F(CompactionTest, TheMaximumLagClosesTheSegmentAndIgnoresTheRatio) {
  config.min_cleanable_dirty_ratio = 1;
  config.max_compaction_lag_ms = 1000;
  config.segment_bytes = 1u << 20;
  open();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(append(rows({{"k", "v"}}, env.now_ms())));
  ASSERT_TRUE(compact());
  EXPECT_EQ(keyed().size(), 5u);
  env.set_now_ms(env.now_ms() + 2000);
  ASSERT_TRUE(compact());
  EXPECT_EQ(keyed().size(), 1u);
}

TEST_F(CompactionTest, WaitsUntilEnoughIsDirty) {
  config.min_cleanable_dirty_ratio = 0.9;
  open();
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(append(rows({{"k" + std::to_string(i), std::string(100, 'v')}})));
  }
  roll();
  ASSERT_TRUE(compact());  // all of it is dirty
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(append(rows({{"k1", "again"}})));
  roll();
  ASSERT_TRUE(compact());
  EXPECT_EQ(keyed().size(), 45u);
  reopen();
  ASSERT_TRUE(compact());
  EXPECT_EQ(keyed().size(), 45u);
  config.min_cleanable_dirty_ratio = 0.05;
  log->reconfigure(config);
  ASSERT_TRUE(compact());
  EXPECT_EQ(keyed().size(), 40u);
}

TEST_F(CompactionTest, TakesSeveralPassesWhenTheKeysDoNotFit) {
  config.compaction_keys_max = 7;
  open();
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(append(rows({{"k" + std::to_string(i % 25), std::to_string(i)}})));
  }
  roll();
  ASSERT_TRUE(compact());
  const auto left = keyed();
  EXPECT_EQ(left.size(), 25u);
  EXPECT_EQ(left.begin()->first, 75);
}

TEST_F(CompactionTest, AProducersSequenceOutlivesItsRecords) {
  open();
  ASSERT_TRUE(append(produced(rows({{"k", "1"}, {"k", "2"}}), 7, 0, 0)));
  ASSERT_TRUE(append(rows({{"k", "3"}})));
  roll();
  ASSERT_TRUE(compact());
  EXPECT_EQ(keyed().size(), 1u);
  const auto header = parse_batch_header(read(0)->batches);
  EXPECT_EQ(header->record_count, 0);
  EXPECT_EQ(header->producer_id, 7);
  EXPECT_EQ(header->last_offset(), 1);
  crash();
  // Nothing but the batches is left to tell of the producer.
  for (const auto& name : *env.files().list(folder)) {
    if (name.ends_with(".producers")) ASSERT_TRUE(env.files().remove(folder + "/" + name));
  }
  open();
  EXPECT_TRUE(append(produced(rows({{"k", "1"}, {"k", "2"}}), 7, 0, 0))->duplicate);
  EXPECT_EQ(append(produced(rows({{"k", "5"}}), 7, 0, 3)).error().code,
            ErrorCode::kOutOfOrderSequence);
  EXPECT_TRUE(append(produced(rows({{"k", "4"}}), 7, 0, 2)));
}

TEST_F(CompactionTest, ADamagedBatchIsLeftForTheReader) {
  open();
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(append(rows({{"k", "value " + std::to_string(i)}})));
  roll();
  const auto bytes = log->size_bytes();
  env.files().overwrite(folder + "/00000000000000000000.log", 100, "XXXX");
  EXPECT_EQ(compact().error().code, ErrorCode::kCorruptRecord);
  EXPECT_TRUE(compact());
  EXPECT_EQ(log->size_bytes(), bytes);
  EXPECT_EQ(read(1).error().code, ErrorCode::kCorruptRecord);
}

TEST_F(CompactionTest, ReadersAndProducersGoOnMeanwhile) {
  config.segment_bytes = 20000;
  open();
  for (int i = 0; i < 2000; ++i) {
    ASSERT_TRUE(
        append(rows({{"k" + std::to_string(i % 10), std::string(100, 'v')}}), Ack::kWritten));
  }
  roll();
  io::Gate gate;
  bool done = false;
  size_t read_count = 0;
  struct Script {
    static io::Task<void> compact(PartitionLog& log, bool& done) {
      EXPECT_TRUE(co_await log.compact());
      done = true;
    }
    static io::Task<void> read(PartitionLog& log, const bool& done, size_t& count) {
      while (!done) {
        Offset last = -1;
        for (Offset next = 0; next < 2000;) {
          const auto chunk = co_await log.read(next, 3000, Isolation::kUncommitted);
          EXPECT_TRUE(chunk) << chunk.error().text;
          if (!chunk) co_return;
          EXPECT_TRUE(for_each_record(chunk->batches, false, [&](const RecordView& record) {
            EXPECT_GT(record.offset, last);
            last = record.offset;
          }));
          EXPECT_GT(chunk->next_offset, next);
          next = chunk->next_offset;
          ++count;
        }
      }
    }
    static io::Task<void> produce(PartitionLog& log, const bool& done) {
      while (!done) {
        EXPECT_TRUE(co_await log.append(rows({{"new", "v"}}), Ack::kDurable));
      }
    }
    static io::Task<void> run(PartitionLog& log, io::Shard& shard, io::Gate& gate, bool& done,
                              size_t& count) {
      shard.spawn(gate, compact(log, done));
      for (int i = 0; i < 5; ++i) shard.spawn(gate, read(log, done, count));
      shard.spawn(gate, produce(log, done));
      co_await gate.close();
    }
  };
  shard.block_on(Script::run(*log, shard, gate, done, read_count));
  EXPECT_GT(read_count, 10u);
  size_t left = 0;
  for (const auto& [offset, row] : keyed()) left += offset < 2000;
  EXPECT_EQ(left, 10u);
}

TEST_F(CompactionTest, CompactAloneDeletesNothingByTimeAndBothDo) {
  config.retention_ms = 1000;
  config.retention_bytes = 10;
  open();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(append(rows({{"k" + std::to_string(i), "v"}}, env.now_ms())));
  }
  env.set_now_ms(env.now_ms() + 10'000);
  ASSERT_TRUE(shard.block_on(log->enforce_retention()));
  EXPECT_EQ(log->start_offset(), 0);
  ASSERT_TRUE(compact());
  EXPECT_EQ(keyed().size(), 20u);
  config.cleanup_delete = true;
  log->reconfigure(config);
  ASSERT_TRUE(shard.block_on(log->enforce_retention()));
  EXPECT_EQ(log->start_offset(), 20);
}

}  // namespace
}  // namespace millrace::log

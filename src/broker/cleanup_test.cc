// What becomes of batches before they are appended, and of old ones later.

#include <thread>

#include "broker/broker_test_util.h"

namespace millrace::broker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto kPatience = std::chrono::seconds(30);

class CleanupTest : public BrokerTest {
 protected:
  std::shared_ptr<const Topic> make(std::map<std::string, std::string> options) {
    auto object = topic("t");
    object.options = std::move(options);
    auto made = create(std::move(object));
    EXPECT_TRUE(made) << made.error().text;
    return *made;
  }
  static std::string keyed(std::string_view key, std::string_view value,
                           log::Compression compression = log::Compression::kNone) {
    log::BatchBuilder builder(compression);
    builder.add(1'700'000'000'000, key, value);
    return builder.finish();
  }
  static bool eventually(const std::function<bool()>& holds) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (!holds()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
  }
  log::BatchHeader first_header(Partition& partition) {
    auto read = shard().block_on(partition.read(0, 1));
    EXPECT_TRUE(read);
    return *log::parse_batch_header(read->batches);
  }
};

TEST_F(CleanupTest, TheClockCompacts) {
  close();
  open(std::chrono::milliseconds(10));
  const auto topic = make({{"cleanup.policy", "compact"}, {"segment.bytes", "4096"}});
  auto& partition = *topic->partitions[0];
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(append(partition, keyed("key " + std::to_string(i % 3), std::to_string(i))));
  }
  EXPECT_TRUE(eventually([&] { return partition.size_bytes() < 8192; }));
  EXPECT_EQ(partition.start_offset(), 0);
  EXPECT_THAT(values(partition, 299), ElementsAre("299"));
  EXPECT_THAT(env_.metrics().render(), HasSubstr("millrace_log_compactions_total"));
}

TEST_F(CleanupTest, TheClockEnforcesRetention) {
  close();
  open(std::chrono::milliseconds(10));
  const auto topic = make({{"retention.ms", "1000"}});
  auto& partition = *topic->partitions[0];
  ASSERT_TRUE(append(partition, batch({"old"})));
  env_.set_now_ms(env_.now_ms() + 5000);
  EXPECT_TRUE(eventually([&] { return partition.start_offset() == 1; }));
  // Files that were closed meanwhile are opened again.
  ASSERT_TRUE(append(partition, batch({"new"}, env_.now_ms())));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  ASSERT_TRUE(append(partition, batch({"newer"}, env_.now_ms())));
  EXPECT_THAT(values(partition, 1), ElementsAre("new", "newer"));
}

TEST_F(CleanupTest, ACompactedTopicRefusesRecordsWithoutAKey) {
  const auto topic = make({{"cleanup.policy", "compact"}});
  auto& partition = *topic->partitions[0];
  auto refused = append(partition, batch({"no key"}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidRecord);
  EXPECT_TRUE(append(partition, keyed("k", "v", log::Compression::kZstd)));
  EXPECT_EQ(partition.high_watermark(), 1);
  // What we write ourselves holds its epochs in them.
  auto log = create(changelog("view"));
  ASSERT_TRUE(log);
  EXPECT_TRUE(append(*(*log)->partitions[0], batch({"epoch"})));
}

TEST_F(CleanupTest, BatchesAreKeptInTheTopicsCodec) {
  using log::Compression;
  const std::map<std::string, Compression> codecs = {{"uncompressed", Compression::kNone},
                                                     {"gzip", Compression::kGzip},
                                                     {"snappy", Compression::kSnappy},
                                                     {"lz4", Compression::kLz4},
                                                     {"zstd", Compression::kZstd}};
  const std::string value(2000, 'v');
  for (const auto& [name, codec] : codecs) {
    const auto topic = make({{"compression.type", name}, {"compression.zstd.level", "7"}});
    auto& partition = *topic->partitions[0];
    for (const auto& [other_name, other] : codecs) {
      ASSERT_TRUE(append(partition, keyed("k", value, other)));
    }
    for (Offset at = 0; at < 5; ++at) {
      auto read = shard().block_on(partition.read(at, 1));
      ASSERT_TRUE(read);
      ASSERT_TRUE(log::validate_batches(read->batches, true));
      EXPECT_EQ(log::parse_batch_header(read->batches)->compression(), codec);
    }
    EXPECT_THAT(values(partition), ElementsAre(value, value, value, value, value));
    ASSERT_TRUE(drop("t"));
  }
}

TEST_F(CleanupTest, RecompressionMayMakeABatchTooLarge) {
  const auto topic = make({{"compression.type", "uncompressed"}, {"max.message.bytes", "10000"}});
  auto& partition = *topic->partitions[0];
  const std::string value(20'000, 'v');
  EXPECT_EQ(append(partition, keyed("k", value, log::Compression::kZstd)).error().code,
            ErrorCode::kRecordTooLarge);
  EXPECT_EQ(append(partition, keyed("k", value)).error().code, ErrorCode::kRecordTooLarge);
  EXPECT_TRUE(append(partition, keyed("k", "small")));
}

TEST_F(CleanupTest, ABombIsRefused) {
  const auto topic = make({{"compression.type", "lz4"}});
  auto& partition = *topic->partitions[0];
  // One record of 200 MiB, in some thousand bytes.
  log::BatchBuilder builder(log::Compression::kZstd);
  builder.add(1, "k", std::string(200u << 20, 'x'));
  auto refused = append(partition, builder.finish());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kRecordTooLarge);
  EXPECT_EQ(partition.high_watermark(), 0);
}

TEST_F(CleanupTest, ManyLargeBatchesKeepTheirOrder) {
  const auto topic = make({{"compression.type", "zstd"}});
  auto partition = topic->partitions[0];
  struct Script {
    static io::Task<void> one(Partition& partition, std::string batch) {
      auto appended = co_await partition.append(std::move(batch), log::Ack::kDurable);
      EXPECT_TRUE(appended);
    }
    static io::Task<void> all(Partition& partition, io::Shard& shard) {
      io::Gate gate;
      for (int i = 0; i < 20; ++i) {
        // Every other one goes through the pool.
        const auto value = std::to_string(i) + std::string(i % 2 == 0 ? 300'000 : 10, ' ');
        shard.spawn(gate, one(partition, keyed("k", value)));
      }
      co_await gate.close();
    }
  };
  runtime_.shard(1).block_on(Script::all(*partition, runtime_.shard(1)));
  const auto kept = values(*partition);
  ASSERT_EQ(kept.size(), 20u);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(std::stoi(kept[static_cast<size_t>(i)]), i);
}

TEST_F(CleanupTest, LogAppendTimeIsTheNodes) {
  const auto topic =
      make({{"message.timestamp.type", "LogAppendTime"}, {"compression.type", "gzip"}});
  auto& partition = *topic->partitions[0];
  const auto appended = append(partition, keyed("k", "v"));
  ASSERT_TRUE(appended);
  EXPECT_EQ(appended->append_time_ms, env_.now_ms());
  const auto header = first_header(partition);
  EXPECT_TRUE(header.log_append_time());
  EXPECT_EQ(header.max_timestamp, env_.now_ms());
  EXPECT_EQ(header.compression(), log::Compression::kGzip);
}

TEST_F(CleanupTest, DuplicatesAreLeftOut) {
  const auto topic = make({{"deduplication", "key"}, {"deduplication.count", "100"}});
  auto& partition = *topic->partitions[0];
  for (const auto* key : {"a", "b", "a", "c", "b"}) {
    ASSERT_TRUE(append(partition, keyed(key, key)));
  }
  EXPECT_THAT(values(partition), ElementsAre("a", "b", "c"));
  EXPECT_EQ(partition.high_watermark(), 5);
}

TEST_F(CleanupTest, OptionsAreChecked) {
  EXPECT_FALSE(to_log_config({{"deduplication", "header:"}}));
  EXPECT_FALSE(to_log_config({{"deduplication", "both"}}));
  const auto config = to_log_config({{"deduplication", "header:id"},
                                     {"deduplication.age.ms", "5"},
                                     {"cleanup.policy", "compact,delete"},
                                     {"min.cleanable.dirty.ratio", "0.25"},
                                     {"compression.type", "lz4"},
                                     {"compression.lz4.level", "12"}});
  ASSERT_TRUE(config) << config.error().text;
  EXPECT_EQ(config->dedup.header, "id");
  EXPECT_EQ(config->dedup.age_ms, 5);
  EXPECT_TRUE(config->cleanup_compact && config->cleanup_delete);
  EXPECT_EQ(config->min_cleanable_dirty_ratio, 0.25);
  EXPECT_EQ(config->compression, log::Compression::kLz4);
  EXPECT_EQ(config->compression_level, 12);
}

}  // namespace
}  // namespace millrace::broker

#include "log/record_batch.h"

#include <gtest/gtest.h>

#include <random>

#include "log/batch_writer.h"

namespace millrace::log {
namespace {

std::string sample(Compression compression, int records = 3) {
  BatchBuilder builder(compression);
  for (int i = 0; i < records; ++i) {
    builder.add(1000 + i, i % 2 ? std::optional<std::string_view>("key") : std::nullopt,
                i % 3 == 2 ? std::nullopt : std::optional<std::string_view>("a value of some size"),
                {{"h", "v"}, {"null", std::nullopt}});
  }
  return builder.finish();
}

TEST(BatchWriter, WritesToAStringsEndWhatTheBuilderBuilds) {
  BatchBuilder builder;
  BatchWriter writer;
  std::string expected = "before", out = expected;
  for (const int records : {3, 1, 300}) {
    for (int i = 0; i < records; ++i) {
      const std::string value(static_cast<size_t>(i), 'v');
      const std::vector<Header> headers(static_cast<size_t>(i % 3), Header{"h", "x"});
      builder.add(1000 - i, std::nullopt, value, headers);
      writer.add(out, 1000 - i, value, headers);
      EXPECT_EQ(writer.count(), builder.count());
      EXPECT_EQ(writer.bytes(out), builder.bytes());
    }
    expected += builder.finish();
    writer.finish(out);
    EXPECT_EQ(writer.bytes(out), 0u);
  }
  EXPECT_EQ(out, expected);
  const auto batches = validate_batches(std::string_view(out).substr(6), true);
  ASSERT_TRUE(batches) << batches.error().text;
  EXPECT_EQ(batches->size(), 3u);
}

class EveryCompression : public testing::TestWithParam<Compression> {};
INSTANTIATE_TEST_SUITE_P(Codecs, EveryCompression,
                         testing::Values(Compression::kNone, Compression::kGzip,
                                         Compression::kSnappy, Compression::kLz4,
                                         Compression::kZstd));

TEST_P(EveryCompression, ReadsBackWhatTheBuilderWrote) {
  auto batch = sample(GetParam());
  patch_batch(batch.data(), 70, 5, std::nullopt);
  const auto headers = validate_batches(batch, true);
  ASSERT_TRUE(headers) << headers.error().text;
  ASSERT_EQ(headers->size(), 1u);
  EXPECT_EQ(headers->front().base_offset, 70);
  EXPECT_EQ(headers->front().leader_epoch, 5);
  EXPECT_EQ(headers->front().last_offset(), 72);
  EXPECT_EQ(headers->front().max_timestamp, 1002);
  std::vector<Offset> offsets;
  const auto each = [&](const RecordView& record) {
    const auto i = record.offset - 70;
    EXPECT_EQ(record.timestamp, 1000 + i);
    EXPECT_EQ(record.key.has_value(), i % 2 == 1);
    EXPECT_EQ(record.value.has_value(), i != 2);
    ASSERT_EQ(record.headers.size(), 2u);
    EXPECT_EQ(record.headers[0].key, "h");
    EXPECT_EQ(record.headers[0].value, "v");
    EXPECT_FALSE(record.headers[1].value.has_value());
    offsets.push_back(record.offset);
  };
  const auto walked = for_each_record(batch, true, each);
  ASSERT_TRUE(walked) << walked.error().text;
  EXPECT_EQ(offsets, (std::vector<Offset>{70, 71, 72}));
}

TEST_P(EveryCompression, NeverTrustsBytesFromOutside) {
  const auto whole = sample(GetParam(), 20) + sample(GetParam(), 2);
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 3000; ++round) {
    auto bytes = whole;
    for (size_t flips = 1 + random() % 4; flips > 0; --flips) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    if (random() % 4 == 0) bytes.resize(random() % bytes.size());
    (void)validate_batches(bytes, true);
    size_t seen = 0;
    (void)for_each_record(
        bytes, true, [&](const RecordView& record) { seen += record.value.value_or("").size(); });
    EXPECT_LT(seen, 1u << 20);
  }
}

TEST(RecordBatch, RefusesAFlippedBitUnderTheCrc) {
  const auto whole = sample(Compression::kNone);
  for (size_t at = 21; at < whole.size(); ++at) {
    auto bytes = whole;
    bytes[at] ^= 1;
    const auto checked = validate_batches(bytes, false);
    ASSERT_FALSE(checked) << at;
    EXPECT_EQ(checked.error().code, ErrorCode::kCorruptRecord);
  }
}

TEST(RecordBatch, RefusesOldMessageFormats) {
  auto bytes = sample(Compression::kNone);
  bytes[16] = 1;
  EXPECT_EQ(validate_batches(bytes, false).error().code, ErrorCode::kUnsupportedVersion);
}

TEST(RecordBatch, RefusesABatchCutShort) {
  const auto bytes = sample(Compression::kNone);
  for (size_t kept = 0; kept < bytes.size(); ++kept) {
    EXPECT_FALSE(validate_batches(std::string_view(bytes).substr(0, kept), false)) << kept;
  }
}

TEST(RecordBatch, StampsTheAppendTimeUnderAFreshCrc) {
  auto bytes = sample(Compression::kZstd);
  patch_batch(bytes.data(), 0, 0, 123'456);
  const auto headers = validate_batches(bytes, true);
  ASSERT_TRUE(headers) << headers.error().text;
  EXPECT_TRUE(headers->front().log_append_time());
  (void)for_each_record(bytes, false,
                        [](const RecordView& record) { EXPECT_EQ(record.timestamp, 123'456); });
}

// Captured from the layout in Kafka's documentation, written by hand: one record, key "k", value
// "v", timestamp 5.
TEST(RecordBatch, ReadsABatchOfAnotherHand) {
  const std::string record("\x10\x00\x00\x00\x02k\x02v\x00", 9);
  BatchBuilder builder;
  builder.add(5, "k", "v");
  const auto batch = builder.finish();
  EXPECT_EQ(batch.substr(61), record);
  EXPECT_EQ(batch.size(), 70u);
  EXPECT_EQ(static_cast<uint8_t>(batch[11]), 70u - 12u);
  EXPECT_EQ(batch[16], 2);
}

}  // namespace
}  // namespace millrace::log

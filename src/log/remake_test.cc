#include "log/remake.h"

#include <gmock/gmock.h>

#include "log/log_test_util.h"

namespace millrace::log {
namespace {

constexpr size_t kInflatedMax = 1 << 20;

/// Three records with keys a, b, c, of an idempotent producer.
std::string three(Compression compression) {
  BatchBuilder builder(compression);
  builder.add(1000, "a", "one", {{"h", "x"}, {"null", std::nullopt}});
  builder.add(1007, "b", "two");
  builder.add(1003, "c", std::nullopt);
  return produced(builder.finish(), 7, 2, 40);
}

struct Seen {
  Offset offset;
  TimestampMs timestamp;
  std::string text;
  bool operator==(const Seen&) const = default;
};
std::vector<Seen> seen(std::string_view batch) {
  std::vector<Seen> out;
  EXPECT_TRUE(for_each_record(batch, true, [&](const RecordView& record) {
    std::string text(record.key.value_or("-"));
    text += '=';
    text += record.value.value_or("null");
    for (const auto& header : record.headers) {
      text += ' ';
      text += header.key;
      text += ':';
      text += header.value.value_or("null");
    }
    out.push_back({record.offset, record.timestamp, std::move(text)});
  }));
  return out;
}

TEST(Remake, KeepsOffsetsProducerAndCodecOfWhatStays) {
  for (auto codec : {Compression::kNone, Compression::kGzip, Compression::kZstd}) {
    const auto batch = three(codec);
    auto contents = BatchContents::open(batch, kInflatedMax);
    ASSERT_TRUE(contents) << contents.error().text;
    ASSERT_EQ(contents->records().size(), 3u);
    BatchRemaker remaker(*contents);
    remaker.keep(0);
    const std::string value = "changed";
    RecordView other{.timestamp = 1010, .key = "c", .value = value, .headers = {{"g", "y"}}};
    remaker.put(2, other);
    const auto made = remaker.finish();
    EXPECT_EQ(seen(made),
              (std::vector<Seen>{{0, 1000, "a=one h:x null:null"}, {2, 1010, "c=changed g:y"}}));
    const auto header = parse_batch_header(made);
    ASSERT_TRUE(header);
    EXPECT_EQ(header->compression(), codec);
    EXPECT_EQ(header->producer_id, 7);
    EXPECT_EQ(header->producer_epoch, 2);
    EXPECT_EQ(header->base_sequence, 40);
    EXPECT_EQ(header->last_offset_delta, 2);
    EXPECT_EQ(header->record_count, 2);
    EXPECT_EQ(header->max_timestamp, 1010);
  }
}

TEST(Remake, LeavesAHeadWhereNothingStays) {
  const auto batch = three(Compression::kZstd);
  auto contents = BatchContents::open(batch, kInflatedMax);
  ASSERT_TRUE(contents);
  const auto made = BatchRemaker(*contents).finish();
  EXPECT_EQ(made.size(), BatchHeader::kBytes);
  EXPECT_TRUE(seen(made).empty());
  EXPECT_EQ(parse_batch_header(made)->last_offset_delta, 2);
}

TEST(Remake, RefusesDamageAndWhatInflatesTooFar) {
  auto batch = three(Compression::kNone);
  batch[BatchHeader::kBytes] = 0x7f;  // the first record's length
  EXPECT_EQ(BatchContents::open(batch, kInflatedMax).error().code, ErrorCode::kCorruptRecord);
  BatchBuilder builder(Compression::kZstd);
  builder.add(1, "k", std::string(1 << 16, 'x'));
  EXPECT_EQ(BatchContents::open(builder.finish(), 1024).error().code, ErrorCode::kRecordTooLarge);
}

}  // namespace
}  // namespace millrace::log

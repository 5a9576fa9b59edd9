#include "log/detail/rebatch.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/compression.h"
#include "base/crc32c.h"
#include "log/detail/record_body.h"

namespace millrace::log::detail {

namespace {
// Where the fields of the head stand. Source: Kafka message format, magic 2.
constexpr size_t kLengthAt = 8;
constexpr size_t kCrcAt = 17;
constexpr size_t kCrcFrom = 21;
constexpr size_t kAttributesAt = 21;
constexpr size_t kBaseTimestampAt = 27;
constexpr size_t kMaxTimestampAt = 35;
constexpr size_t kRecordCountAt = 57;
constexpr int16_t kCodecBits = 7;
constexpr int16_t kDeleteHorizonBit = 64;

Codec codec_of(Compression compression) {
  return static_cast<Codec>(static_cast<int>(compression) - 1);
}

Error corrupt(const BatchHeader& header, std::string_view why) {
  return Error{
      ErrorCode::kCorruptRecord,
      fmt::format("the record batch at offset {} is damaged: {}", header.base_offset, why)};
}

/// Wraps like the producer's own arithmetic: these numbers come from outside.
int64_t plus(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
int64_t minus(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}
}  // namespace

Result<RecordWalk> RecordWalk::open(std::string_view batch, size_t inflated_max) {
  const auto header = parse_batch_header(batch);
  if (!header || header->total_bytes() > batch.size()) {
    return Error{ErrorCode::kCorruptRecord, "a record batch is cut short, or is none"};
  }
  RecordWalk walk;
  walk.header_ = *header;
  walk.batch_ = batch.substr(0, header->total_bytes());
  walk.left_ = walk.batch_.substr(BatchHeader::kBytes);
  if (header->compression() == Compression::kNone) return walk;
  if (header->compression() > Compression::kZstd) return corrupt(*header, "an unknown codec");
  auto bytes = decompress(codec_of(header->compression()), walk.left_, inflated_max);
  if (!bytes && bytes.error().code == ErrorCode::kCorruptRecord) {
    return corrupt(*header, bytes.error().text);
  }
  MR_TRY(walk.inflated_, std::move(bytes));
  walk.left_ = {};
  return walk;
}

Result<bool> RecordWalk::next(RecordSlice& record) {
  // Set here, not in open(): a short string moves with its owner.
  if (taken_ == 0 && !inflated_.empty()) left_ = inflated_;
  if (taken_ == header_.record_count) {
    if (!left_.empty()) return corrupt(header_, "bytes stand after the last record");
    return false;
  }
  const auto damaged = [&] {
    return corrupt(header_, fmt::format("record {} has impossible lengths", taken_));
  };
  Reader reader(left_);
  const auto body_bytes = reader.bytes(reader.varint());
  if (!reader.ok() || taken_ > header_.record_count) return damaged();
  record.bytes = left_.substr(0, left_.size() - reader.left());
  Reader body(body_bytes);
  record.attributes = body.big_endian<int8_t>();
  record.timestamp_delta = body.varint();
  record.offset_delta = body.varint();
  record.rest = body_bytes.substr(body_bytes.size() - body.left());
  record.key = body.nullable_bytes();
  record.value = body.nullable_bytes();
  record.headers = body_bytes.substr(body_bytes.size() - body.left());
  const int64_t headers = body.varint();
  if (!body.ok() || headers < 0 || static_cast<uint64_t>(headers) > body.left() / 2) {
    return damaged();
  }
  for (int64_t i = 0; i < headers; ++i) {
    if (!body.nullable_bytes()) return damaged();
    body.nullable_bytes();
  }
  if (!body.ok() || !body.empty() || record.offset_delta < 0 ||
      record.offset_delta > header_.last_offset_delta) {
    return damaged();
  }
  left_.remove_prefix(record.bytes.size());
  ++taken_;
  return true;
}

std::optional<std::string_view> RecordWalk::find_header(const RecordSlice& record,
                                                        std::string_view name) {
  Reader reader(record.headers);
  for (int64_t left = reader.varint(); left > 0 && reader.ok(); --left) {
    const auto key = reader.nullable_bytes();
    const auto value = reader.nullable_bytes();
    if (reader.ok() && key == name) return value;
  }
  return std::nullopt;
}

void RecordWalk::take_headers(const RecordSlice& record, std::vector<Header>& out) {
  out.clear();
  Reader reader(record.headers);
  for (int64_t left = reader.varint(); left > 0 && reader.ok(); --left) {
    const auto key = reader.nullable_bytes();
    const auto value = reader.nullable_bytes();
    if (reader.ok() && key) out.push_back({*key, value});
  }
}

TimestampMs record_timestamp(const BatchHeader& header, const RecordSlice& record) {
  return plus(header.base_timestamp, record.timestamp_delta);
}

BatchRewriter::BatchRewriter(std::string_view batch, std::optional<TimestampMs> horizon)
    : header_(*parse_batch_header(batch)),
      head_(batch.substr(0, BatchHeader::kBytes)),
      horizon_(horizon) {}

void BatchRewriter::keep(const RecordSlice& record) {
  const TimestampMs timestamp = record_timestamp(header_, record);
  max_timestamp_ = kept_ == 0 ? timestamp : std::max(max_timestamp_, timestamp);
  ++kept_;
  if (!horizon_) {
    records_ += record.bytes;
    return;
  }
  // Timestamps count from the base, which becomes another.
  std::string front(1, static_cast<char>(record.attributes));
  append_varint(front, minus(timestamp, *horizon_));
  append_varint(front, record.offset_delta);
  append_varint(records_, static_cast<int64_t>(front.size() + record.rest.size()));
  records_ += front;
  records_ += record.rest;
}

void BatchRewriter::put(int64_t offset_delta, const RecordView& record) {
  max_timestamp_ = kept_ == 0 ? record.timestamp : std::max(max_timestamp_, record.timestamp);
  ++kept_;
  const TimestampMs base = horizon_.value_or(header_.base_timestamp);
  append_record(records_, minus(record.timestamp, base), offset_delta, record.key, record.value,
                record.headers);
}

std::string BatchRewriter::finish(Compression compression, int level) {
  if (kept_ == 0) compression = Compression::kNone;
  if (compression != Compression::kNone) {
    records_ = compress(codec_of(compression), records_, level);
  }
  std::string out = std::move(head_);
  auto attributes =
      static_cast<int16_t>((header_.attributes & ~kCodecBits) | static_cast<int16_t>(compression));
  if (horizon_) {
    attributes |= kDeleteHorizonBit;
    store_be<int64_t>(out.data() + kBaseTimestampAt, *horizon_);
  }
  store_be<int16_t>(out.data() + kAttributesAt, attributes);
  store_be<int32_t>(out.data() + kLengthAt,
                    static_cast<int32_t>(BatchHeader::kBytes - 12 + records_.size()));
  if (!header_.log_append_time() || kept_ == 0) {
    store_be<int64_t>(out.data() + kMaxTimestampAt, max_timestamp_);
  }
  store_be<int32_t>(out.data() + kRecordCountAt, kept_);
  out += records_;
  store_be<uint32_t>(out.data() + kCrcAt, crc32c(std::string_view(out).substr(kCrcFrom)));
  return out;
}

}  // namespace millrace::log::detail

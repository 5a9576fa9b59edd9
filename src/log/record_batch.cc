#include "log/record_batch.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/compression.h"
#include "base/crc32c.h"
#include "log/detail/record_body.h"
#include "log/detail/wire.h"
#include "log/record_walk.h"
#include "log/stamp.h"

namespace millrace::log {

namespace {
using detail::corrupt;
using detail::load_be;
using detail::Reader;
using detail::store_be;

// Where the fields of the head stand. Source: Kafka message format, magic 2.
constexpr size_t kLengthAt = 8;
constexpr size_t kLeaderEpochAt = 12;
constexpr size_t kMagicAt = 16;
constexpr size_t kCrcAt = 17;
constexpr size_t kCrcFrom = 21;
constexpr size_t kAttributesAt = 21;
constexpr size_t kLastOffsetDeltaAt = 23;
constexpr size_t kBaseTimestampAt = 27;
constexpr size_t kMaxTimestampAt = 35;
constexpr size_t kProducerIdAt = 43;
constexpr size_t kProducerEpochAt = 51;
constexpr size_t kBaseSequenceAt = 53;
constexpr size_t kRecordCountAt = 57;
constexpr int16_t kLogAppendTime = 8;
constexpr int16_t kTransactional = 16;

/// What one batch may decompress to: a hundred times the largest batch that a topic takes by
/// default.
constexpr size_t kDecompressedMax = 128u << 20;

uint32_t crc_of(std::string_view batch) { return crc32c(batch.substr(kCrcFrom)); }

Codec codec_of(Compression compression) {
  return static_cast<Codec>(static_cast<int>(compression) - 1);
}

Result<> check_records(const BatchHeader& header, std::string_view batch) {
  RecordView record;
  std::string storage;
  MR_TRY(const auto records, detail::records_of(header, batch, storage));
  Reader reader(records);
  for (int32_t i = 0; i < header.record_count; ++i) {
    if (!detail::read_record(reader, false, record))
      return corrupt(header, fmt::format("record {} has impossible lengths", i));
    if (record.offset != i) return corrupt(header, "offsets are not in sequence");
  }
  if (!reader.empty()) return corrupt(header, "bytes stand after the last record");
  return {};
}

Result<> check_batch(const BatchHeader& header, std::string_view batch) {
  if (load_be<uint32_t>(batch.data() + kCrcAt) != crc_of(batch)) {
    return corrupt(header, "its CRC does not match");
  }
  if (header.record_count <= 0 || header.last_offset_delta != header.record_count - 1) {
    return corrupt(header, fmt::format("{} records with a last offset delta of {}",
                                       header.record_count, header.last_offset_delta));
  }
  if (header.compression() > Compression::kZstd) return corrupt(header, "an unknown codec");
  if (header.base_offset > INT64_MAX - header.record_count) {
    return corrupt(header, "an impossible base offset");
  }
  return {};
}
}  // namespace

namespace detail {

Error corrupt(const BatchHeader& header, std::string_view why) {
  return Error{
      ErrorCode::kCorruptRecord,
      fmt::format("the record batch at offset {} is damaged: {}", header.base_offset, why)};
}

Result<std::string_view> records_of(const BatchHeader& header, std::string_view batch,
                                    std::string& storage) {
  const auto body = batch.substr(BatchHeader::kBytes);
  if (header.compression() == Compression::kNone) return body;
  if (header.compression() > Compression::kZstd) return corrupt(header, "an unknown codec");
  auto bytes = decompress(codec_of(header.compression()), body, kDecompressedMax);
  if (!bytes && bytes.error().code == ErrorCode::kCorruptRecord) {
    return corrupt(header, bytes.error().text);
  }
  MR_TRY(storage, std::move(bytes));
  return std::string_view(storage);
}

void write_head(std::span<char> batch, const NewBatch& records) {
  char* at = batch.data();
  store_be<int64_t>(at, 0);
  store_be<int32_t>(at + kLengthAt, static_cast<int32_t>(batch.size() - 12));
  store_be<int32_t>(at + kLeaderEpochAt, 0);
  store_be<int8_t>(at + kMagicAt, 2);
  store_be<int16_t>(at + kAttributesAt, records.attributes);
  store_be<int32_t>(at + kLastOffsetDeltaAt, records.count - 1);
  store_be<int64_t>(at + kBaseTimestampAt, records.first_timestamp);
  store_be<int64_t>(at + kMaxTimestampAt, records.max_timestamp);
  store_be<int64_t>(at + kProducerIdAt, -1);
  store_be<int16_t>(at + kProducerEpochAt, -1);
  store_be<int32_t>(at + kBaseSequenceAt, -1);
  store_be<int32_t>(at + kRecordCountAt, records.count);
  store_be<uint32_t>(at + kCrcAt, crc_of({batch.data(), batch.size()}));
}

}  // namespace detail

std::optional<BatchHeader> parse_batch_header(std::string_view bytes) {
  if (bytes.size() < BatchHeader::kBytes) return std::nullopt;
  const char* at = bytes.data();
  BatchHeader h;
  h.base_offset = load_be<int64_t>(at);
  h.length = load_be<int32_t>(at + kLengthAt);
  h.leader_epoch = load_be<int32_t>(at + kLeaderEpochAt);
  h.crc = load_be<uint32_t>(at + kCrcAt);
  h.attributes = load_be<int16_t>(at + kAttributesAt);
  h.last_offset_delta = load_be<int32_t>(at + kLastOffsetDeltaAt);
  h.base_timestamp = load_be<int64_t>(at + kBaseTimestampAt);
  h.max_timestamp = load_be<int64_t>(at + kMaxTimestampAt);
  h.producer_id = load_be<int64_t>(at + kProducerIdAt);
  h.producer_epoch = load_be<int16_t>(at + kProducerEpochAt);
  h.base_sequence = load_be<int32_t>(at + kBaseSequenceAt);
  h.record_count = load_be<int32_t>(at + kRecordCountAt);
  if (h.length < static_cast<int32_t>(BatchHeader::kBytes - 12) || h.base_offset < 0) {
    return std::nullopt;
  }
  return h;
}

Result<std::vector<BatchHeader>> validate_batches(std::string_view bytes, bool deep) {
  std::vector<BatchHeader> headers;
  if (bytes.empty()) return Error{ErrorCode::kCorruptRecord, "there is no record batch"};
  while (!bytes.empty()) {
    if (bytes.size() > kMagicAt && static_cast<uint8_t>(bytes[kMagicAt]) < 2) {
      return Error{ErrorCode::kUnsupportedVersion,
                   fmt::format("message format {} is older than the supported 2; use a client of "
                               "Kafka 0.11 or later",
                               static_cast<int>(bytes[kMagicAt]))};
    }
    const auto header = parse_batch_header(bytes);
    if (!header || header->total_bytes() > bytes.size() || bytes[kMagicAt] != 2) {
      return Error{ErrorCode::kCorruptRecord, "a record batch is cut short, or is none"};
    }
    const auto batch = bytes.substr(0, header->total_bytes());
    MR_TRY(check_batch(*header, batch));
    if (deep) MR_TRY(check_records(*header, batch));
    headers.push_back(*header);
    bytes.remove_prefix(batch.size());
  }
  return headers;
}

void patch_batch(char* batch, Offset base_offset, int32_t leader_epoch,
                 std::optional<TimestampMs> append_time) {
  store_be<int64_t>(batch, base_offset);
  store_be<int32_t>(batch + kLeaderEpochAt, leader_epoch);
  if (!append_time) return;
  const auto attributes = load_be<int16_t>(batch + kAttributesAt);
  store_be<int16_t>(batch + kAttributesAt, static_cast<int16_t>(attributes | kLogAppendTime));
  store_be<int64_t>(batch + kMaxTimestampAt, *append_time);
  const auto length = static_cast<size_t>(load_be<int32_t>(batch + kLengthAt)) + 12;
  store_be<uint32_t>(batch + kCrcAt, crc_of(std::string_view(batch, length)));
}

void stamp_transactional(std::string& batch, const ProducerStamp& stamp) {
  MR_CHECK(batch.size() >= BatchHeader::kBytes);
  char* at = batch.data();
  const auto attributes = load_be<int16_t>(at + kAttributesAt);
  store_be<int16_t>(at + kAttributesAt, static_cast<int16_t>(attributes | kTransactional));
  store_be<int64_t>(at + kProducerIdAt, stamp.producer_id);
  store_be<int16_t>(at + kProducerEpochAt, stamp.producer_epoch);
  store_be<int32_t>(at + kBaseSequenceAt, stamp.base_sequence);
  store_be<uint32_t>(at + kCrcAt, crc_of(batch));
}

Result<> for_each_record(std::string_view bytes, bool with_headers,
                         const std::function<void(const RecordView&)>& each) {
  return walk_records(bytes, with_headers, each);
}

BatchBuilder::BatchBuilder(Compression compression) : compression_(compression) {}

void BatchBuilder::add(TimestampMs timestamp, std::optional<std::string_view> key,
                       std::optional<std::string_view> value, const std::vector<Header>& headers) {
  if (count_ == 0) first_timestamp_ = max_timestamp_ = timestamp;
  max_timestamp_ = std::max(max_timestamp_, timestamp);
  detail::append_record(records_, timestamp - first_timestamp_, count_, key, value, headers);
  ++count_;
}

std::string BatchBuilder::finish() {
  MR_CHECK(count_ > 0);
  const auto attributes = static_cast<int16_t>(compression_);
  if (compression_ != Compression::kNone) records_ = compress(codec_of(compression_), records_);
  std::string batch;
  batch.reserve(BatchHeader::kBytes + records_.size());
  batch.append(BatchHeader::kBytes, '\0');
  batch += records_;
  detail::write_head(batch, {attributes, count_, first_timestamp_, max_timestamp_});
  records_.clear();
  count_ = 0;
  return batch;
}

}  // namespace millrace::log

#include "log/detail/markers.h"

#include "base/crc32c.h"
#include "log/detail/wire.h"

namespace millrace::log::detail {

namespace {
// Where the fields of a batch's head stand. Source: Kafka message format, magic 2.
constexpr size_t kCrcAt = 17;
constexpr size_t kCrcFrom = 21;
constexpr size_t kAttributesAt = 21;
constexpr size_t kProducerIdAt = 43;
constexpr size_t kProducerEpochAt = 51;
constexpr int16_t kTransactional = 16;
constexpr int16_t kControl = 32;
constexpr int16_t kKeyVersion = 0;
constexpr int16_t kValueVersion = 0;
constexpr int16_t kAbort = 0;
constexpr int16_t kCommit = 1;
}  // namespace

std::string marker_batch(const TransactionMarker& marker, TimestampMs now) {
  std::string key;
  append_be<int16_t>(key, kKeyVersion);
  append_be<int16_t>(key, marker.commit ? kCommit : kAbort);
  std::string value;
  append_be<int16_t>(value, kValueVersion);
  append_be<int32_t>(value, marker.coordinator_epoch);
  BatchBuilder builder;
  builder.add(now, key, value);
  std::string batch = builder.finish();
  store_be<int16_t>(batch.data() + kAttributesAt, kTransactional | kControl);
  store_be<int64_t>(batch.data() + kProducerIdAt, marker.producer_id);
  store_be<int16_t>(batch.data() + kProducerEpochAt, marker.producer_epoch);
  store_be<uint32_t>(batch.data() + kCrcAt, crc32c(std::string_view(batch).substr(kCrcFrom)));
  return batch;
}

std::optional<TransactionMarker> parse_marker(const BatchHeader& header, std::string_view batch) {
  if (!header.control() || header.compression() != Compression::kNone || header.record_count < 1) {
    return std::nullopt;
  }
  Reader from(batch.substr(BatchHeader::kBytes));
  Reader record(from.bytes(from.varint()));
  record.big_endian<int8_t>();  // attributes
  record.varint();              // timestamp
  record.varint();              // offset
  Reader key(record.nullable_bytes().value_or(""));
  Reader value(record.nullable_bytes().value_or(""));
  key.big_endian<int16_t>();  // version: later ones only add fields
  const auto type = key.big_endian<int16_t>();
  value.big_endian<int16_t>();
  const auto coordinator_epoch = value.big_endian<int32_t>();
  if (!from.ok() || !record.ok() || !key.ok() || !value.ok()) return std::nullopt;
  if (type != kAbort && type != kCommit) return std::nullopt;
  return TransactionMarker{header.producer_id, header.producer_epoch, type == kCommit,
                           coordinator_epoch};
}

}  // namespace millrace::log::detail

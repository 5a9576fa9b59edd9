#pragma once

#include <bit>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "log/detail/wire.h"
#include "log/record_batch.h"

namespace millrace::log::detail {

inline size_t varint_bytes(int64_t value) {
  const auto bits = (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
  return (static_cast<size_t>(std::bit_width(bits | 1)) + 6) / 7;
}

inline size_t nullable_bytes(std::optional<std::string_view> bytes) {
  if (!bytes) return varint_bytes(-1);
  return varint_bytes(static_cast<int64_t>(bytes->size())) + bytes->size();
}

inline void append_nullable(std::string& out, std::optional<std::string_view> bytes) {
  append_varint(out, bytes ? static_cast<int64_t>(bytes->size()) : -1);
  if (bytes) out.append(*bytes);
}

/// Appends a record in the form that batches hold, its length in front. Source: Kafka message
/// format, magic 2.
inline void append_record(std::string& out, int64_t timestamp_delta, int64_t offset_delta,
                          std::optional<std::string_view> key,
                          std::optional<std::string_view> value,
                          const std::vector<Header>& headers) {
  size_t length = 1 + varint_bytes(timestamp_delta) + varint_bytes(offset_delta) +
                  nullable_bytes(key) + nullable_bytes(value) +
                  varint_bytes(static_cast<int64_t>(headers.size()));
  for (const auto& header : headers) {
    length += nullable_bytes(header.key) + nullable_bytes(header.value);
  }
  append_varint(out, static_cast<int64_t>(length));
  const size_t begin = out.size();
  out += '\0';  // attributes: none are defined
  append_varint(out, timestamp_delta);
  append_varint(out, offset_delta);
  append_nullable(out, key);
  append_nullable(out, value);
  append_varint(out, static_cast<int64_t>(headers.size()));
  for (const auto& header : headers) {
    append_nullable(out, header.key);
    append_nullable(out, header.value);
  }
  MR_CHECK(out.size() == begin + length);
}

/// What a batch's head says of its records.
struct NewBatch {
  int16_t attributes = 0;
  int32_t count = 0;
  TimestampMs first_timestamp = 0;
  TimestampMs max_timestamp = 0;
};
/// Writes the head of `batch`, whose records stand in their place; of no producer, at offset 0.
void write_head(std::span<char> batch, const NewBatch& records);

}  // namespace millrace::log::detail

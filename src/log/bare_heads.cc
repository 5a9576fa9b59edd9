#include "log/bare_heads.h"

#include "base/crc32c.h"
#include "base/result.h"
#include "log/detail/wire.h"

namespace millrace::log {

namespace {
// Where the fields of a batch's head stand. Source: Kafka message format, magic 2.
constexpr size_t kCrcAt = 17;
constexpr size_t kCrcFrom = 21;
constexpr size_t kAttributesAt = 21;
constexpr size_t kLastOffsetDeltaAt = 23;
constexpr int16_t kControl = 32;
constexpr int16_t kKeyVersion = 0;
constexpr int16_t kUnknownType = -1;  // Kafka's ControlRecordType.UNKNOWN

bool bare(const BatchHeader& header) { return header.record_count == 0 && !header.control(); }
}  // namespace

bool all_bare(std::string_view batches) {
  if (!may_be_bare(batches.size())) return false;
  for (; !batches.empty(); batches.remove_prefix(BatchHeader::kBytes)) {
    const auto header = parse_batch_header(batches);
    if (!header || header->total_bytes() != BatchHeader::kBytes || !bare(*header)) return false;
  }
  return true;
}

void end_in_control(std::string& batches) {
  MR_CHECK(all_bare(batches));
  const size_t begin = batches.size() - BatchHeader::kBytes;
  const auto head = *parse_batch_header(std::string_view(batches).substr(begin));
  std::string key;
  detail::append_be<int16_t>(key, kKeyVersion);
  detail::append_be<int16_t>(key, kUnknownType);
  BatchBuilder builder;
  builder.add(head.max_timestamp, key, std::nullopt);
  std::string batch = builder.finish();
  detail::store_be<int16_t>(batch.data() + kAttributesAt, kControl);
  detail::store_be<int32_t>(batch.data() + kLastOffsetDeltaAt, head.last_offset_delta);
  detail::store_be<uint32_t>(batch.data() + kCrcAt,
                             crc32c(std::string_view(batch).substr(kCrcFrom)));
  patch_batch(batch.data(), head.base_offset, head.leader_epoch, std::nullopt);
  batches.replace(begin, BatchHeader::kBytes, batch);
}

}  // namespace millrace::log

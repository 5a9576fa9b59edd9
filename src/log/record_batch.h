#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace millrace::log {

enum class Compression : uint8_t { kNone = 0, kGzip = 1, kSnappy = 2, kLz4 = 3, kZstd = 4 };

/// The fixed head of a RecordBatch, 61 bytes. Source: Kafka message format, magic 2.
struct BatchHeader {
  Offset base_offset = 0;
  int32_t length = 0;  // of what follows this field: the whole batch is length + 12 bytes
  int32_t leader_epoch = 0;
  uint32_t crc = 0;
  int16_t attributes = 0;
  int32_t last_offset_delta = 0;
  TimestampMs base_timestamp = 0;
  TimestampMs max_timestamp = 0;
  int64_t producer_id = -1;
  int16_t producer_epoch = -1;
  int32_t base_sequence = -1;
  int32_t record_count = 0;

  static constexpr size_t kBytes = 61;
  size_t total_bytes() const { return static_cast<size_t>(length) + 12; }
  Offset last_offset() const { return base_offset + last_offset_delta; }
  Compression compression() const { return static_cast<Compression>(attributes & 7); }
  bool log_append_time() const { return attributes & 8; }
  bool transactional() const { return attributes & 16; }
  bool control() const { return attributes & 32; }
  /// The base timestamp is the time from which compaction may drop tombstones and markers
  /// (KIP-534).
  bool has_delete_horizon() const { return attributes & 64; }
};

/// Reads a head; nullopt when fewer than 61 bytes or when the length is impossible. Does not check
/// the CRC.
std::optional<BatchHeader> parse_batch_header(std::string_view bytes);

/// Checks that `bytes` is one or more whole batches: magic 2, lengths, CRC32C, record count, offset
/// deltas, a known codec. Looks inside records only when `deep`. For bytes from outside. Errors:
/// kCorruptRecord, kUnsupportedVersion (magic 0, 1).
Result<std::vector<BatchHeader>> validate_batches(std::string_view bytes, bool deep);

/// The offset, leader epoch and (when given) log-append time of a batch, patched in place; the CRC
/// covers none of the first two and is made anew for the third.
void patch_batch(char* batch, Offset base_offset, int32_t leader_epoch,
                 std::optional<TimestampMs> append_time);

struct Header {
  std::string_view key;
  std::optional<std::string_view> value;
};

/// One record; the views point into the batch's (decompressed) bytes.
struct RecordView {
  Offset offset = 0;
  TimestampMs timestamp = 0;
  std::optional<std::string_view> key;
  std::optional<std::string_view> value;
  std::vector<Header> headers;
};

/// Calls `each` for every record of every batch in `bytes`, in order; `each` gets views that live
/// only for the call. Control batches are passed over. `headers` is filled only when
/// `with_headers`. Errors: kCorruptRecord (with the base offset). Cost: one decompression a batch,
/// no copy of a record.
Result<> for_each_record(std::string_view bytes, bool with_headers,
                         const std::function<void(const RecordView&)>& each);

/// Builds one RecordBatch v2. Offsets are relative; append() assigns them.
class BatchBuilder {
 public:
  explicit BatchBuilder(Compression compression = Compression::kNone);
  void add(TimestampMs timestamp, std::optional<std::string_view> key,
           std::optional<std::string_view> value, const std::vector<Header>& headers = {});
  size_t count() const { return count_; }
  size_t bytes() const { return records_.size() + BatchHeader::kBytes; }
  /// The batch; the builder is empty again.
  std::string finish();

 private:
  Compression compression_;
  std::string records_;
  int32_t count_ = 0;
  TimestampMs first_timestamp_ = 0;
  TimestampMs max_timestamp_ = 0;
};

}  // namespace millrace::log

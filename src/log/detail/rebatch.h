#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "log/detail/wire.h"
#include "log/record_batch.h"

namespace millrace::log::detail {

/// What one batch may decompress to: above the largest frame that the node takes, so that every
/// batch that came in plain can also come compressed.
constexpr size_t kInflatedBytesMax = 128u << 20;

/// One record as it stands in its batch.
struct RecordSlice {
  int64_t timestamp_delta = 0;
  int64_t offset_delta = 0;
  std::optional<std::string_view> key;
  std::optional<std::string_view> value;
  int8_t attributes = 0;
  std::string_view bytes;    // all of it, its length in front
  std::string_view rest;     // what follows the offset delta: key, value, headers
  std::string_view headers;  // their count, then each
};

/// Takes the records of one batch one after the other, without copying them. For bytes from
/// outside.
class RecordWalk {
 public:
  /// `batch` must live as long. Errors: kCorruptRecord; kRecordTooLarge when it decompresses to
  /// more than `inflated_max`.
  static Result<RecordWalk> open(std::string_view batch, size_t inflated_max = kInflatedBytesMax);
  RecordWalk(RecordWalk&&) = default;

  const BatchHeader& header() const { return header_; }
  std::string_view batch() const { return batch_; }
  /// All records' bytes, decompressed.
  std::string_view records() const {
    return header_.compression() == Compression::kNone ? batch_.substr(BatchHeader::kBytes)
                                                       : std::string_view(inflated_);
  }
  /// The next record; false after the last. The slice's views live as long as the walk.
  Result<bool> next(RecordSlice& record);
  /// The value of the record's header `name`; nullopt when it has none, or a null one.
  static std::optional<std::string_view> find_header(const RecordSlice& record,
                                                     std::string_view name);
  /// All of the record's headers, in place of what `out` holds.
  static void take_headers(const RecordSlice& record, std::vector<Header>& out);

 private:
  RecordWalk() = default;

  BatchHeader header_;
  std::string_view batch_;
  std::string inflated_;
  std::string_view left_;
  int32_t taken_ = 0;
};

/// When the record was created, as its producer says.
TimestampMs record_timestamp(const BatchHeader& header, const RecordSlice& record);

/// Makes a batch again from some of its records. Base offset, last offset delta, producer and
/// sequence stay, so that the batch stands for the same offsets and sequences as before; without
/// records it is a head alone, as Kafka's log cleaner leaves one.
class BatchRewriter {
 public:
  /// With `horizon` the base timestamp becomes the time from which the batch's tombstones or
  /// marker may go, and attribute bit 6 says so. Source: KIP-534.
  explicit BatchRewriter(std::string_view batch, std::optional<TimestampMs> horizon = std::nullopt);
  void keep(const RecordSlice& record);
  /// Another record at the place of one of the batch's.
  void put(int64_t offset_delta, const RecordView& record);
  int32_t kept() const { return kept_; }
  /// The batch in `compression`, at `level` (0: the codec's default).
  std::string finish(Compression compression, int level = 0);

 private:
  BatchHeader header_;
  std::string head_;
  std::optional<TimestampMs> horizon_;
  std::string records_;
  int32_t kept_ = 0;
  TimestampMs max_timestamp_ = -1;
};

}  // namespace millrace::log::detail

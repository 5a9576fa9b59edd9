#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "log/record_batch.h"

namespace millrace::log {

/// The heads of `batches`, which are ours: whole, and maybe with gaps or without records.
std::vector<BatchHeader> batch_headers(std::string_view batches);

/// One batch taken apart, so that it can be made again without some of its records, or with others
/// in their place. For bytes from outside.
class BatchContents {
 public:
  /// `batch` must live as long. Errors: kCorruptRecord; kRecordTooLarge when it decompresses to
  /// more than `inflated_max`.
  static Result<BatchContents> open(std::string_view batch, size_t inflated_max);
  BatchContents(BatchContents&&) noexcept;
  BatchContents& operator=(BatchContents&&) noexcept;
  ~BatchContents();

  const BatchHeader& header() const;
  /// All of them, headers included; the views live as long as the contents.
  const std::vector<RecordView>& records() const;
  /// Where the records lie, decompressed.
  std::string_view bytes() const;

 private:
  friend class BatchRemaker;
  struct Impl;
  explicit BatchContents(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Makes the batch of `contents` again from some of its records, given in their order. It stands
/// for the same offsets, producer and sequences as before, so that a producer's retry is known and
/// the next sequence fits: records that are left out are gaps, as compaction leaves them.
class BatchRemaker {
 public:
  explicit BatchRemaker(const BatchContents& contents);
  ~BatchRemaker();
  /// Record `i` as it stands.
  void keep(size_t i);
  /// Timestamp, key, value and headers of `instead` at the offset of record `i`.
  void put(size_t i, const RecordView& instead);
  /// In the codec that the batch had.
  std::string finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::log

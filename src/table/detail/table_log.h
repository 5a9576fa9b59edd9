#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "log/record_batch.h"

namespace millrace::table {

/// Builds the bytes of one append: the records of one transaction. One record batch is whole or
/// not there after a crash, several are not: so all but the last end in a record whose header says
/// that more follows, and torn_transaction() finds what a crash cut. docs/tables.md is the format.
class TransactionWriter {
 public:
  TransactionWriter(size_t batch_bytes_max, TimestampMs timestamp);
  /// No value: the row is gone.
  void add(std::string_view key, std::optional<std::string_view> value);
  /// Empty when nothing was added.
  std::string finish();

 private:
  void flush_pending(bool last_of_batch);

  size_t batch_bytes_max_;
  TimestampMs timestamp_;
  log::BatchBuilder builder_;
  std::string batches_;
  // The last record, which waits to learn whether its batch ends with it.
  bool pending_ = false;
  std::string key_, value_;
  bool has_value_ = false;
  size_t count_ = 0;
};

/// Where the transaction begins that `tail` (batches up to the end of a log) ends in the middle of;
/// nothing when the last record ends one. Errors: kCorruptRecord.
Result<std::optional<Offset>> torn_transaction(std::string_view tail);

}  // namespace millrace::table

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "log/record_batch.h"

namespace millrace::log {

/// Writes RecordBatches v2 one behind the other to the end of a string, uncompressed. What
/// BatchBuilder does, without its copies: for those who write megabytes at once.
class BatchWriter {
 public:
  /// Adds a record without a key to the batch that stands open at the end of `out`; begins one
  /// where none does. Until finish() nothing else is appended to `out`.
  void add(std::string& out, TimestampMs timestamp, std::string_view value,
           const std::vector<Header>& headers = {});
  /// Records of the open batch; 0: none is open.
  size_t count() const { return static_cast<size_t>(count_); }
  /// Bytes of the open batch.
  size_t bytes(const std::string& out) const { return count_ == 0 ? 0 : out.size() - begin_; }
  /// Ends the open batch.
  void finish(std::string& out);

 private:
  size_t begin_ = 0;  // of the open batch
  int32_t count_ = 0;
  TimestampMs first_timestamp_ = 0;
  TimestampMs max_timestamp_ = 0;
};

}  // namespace millrace::log

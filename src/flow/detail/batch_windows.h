#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "log/partition_log.h"

namespace millrace::flow {

/// The record batches of one read of a log, some at a time. Where the log has named a range of its
/// file instead of reading it, the thread that asks copies it, in windows that stay in its core's
/// cache while they are decoded. One thread at a time; next() blocks.
class BatchWindows {
 public:
  explicit BatchWindows(log::ReadResult read);

  /// Whole batches back to back, and one past the last offset that they stand for.
  struct Window {
    std::string_view batches;
    Offset until = 0;
  };
  /// The window that follows; its bytes are valid until the next call. Empty at the end. Errors:
  /// kIo, kCorruptRecord.
  Result<Window> next();
  /// What was read into memory at once; empty: a range of a file.
  std::string_view in_memory() const { return read_.batches; }

 private:
  Result<> fill(size_t bytes);

  log::ReadResult read_;
  std::string buffer_;
  size_t given_ = 0;  // bytes at its front that the last window held
};

}  // namespace millrace::flow

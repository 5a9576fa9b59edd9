#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "connect/detail/records.h"

namespace millrace::connect {

/// How far a source has read: for each part of the other system (a partition, a URL) where to go
/// on, in words of the source's own.
using Position = std::map<std::string, std::string>;

/// What a source has read since the call before.
struct SourceBatch {
  Records records;
  Position moved;  // what of its position is another one, once the records are kept
};

/// Reads another system. Made for one run, which ends at its first error; used by one thread. What
/// it reads must come again when it is opened at an earlier position.
class Source {
 public:
  virtual ~Source() = default;
  /// Connects, and goes on at `position` (empty: where its options say). Gives what it has decided
  /// of its position, to be kept before the first record.
  virtual Result<Position> open(const Position& position) = 0;
  /// Fills `out`; waits for `wait` at most when there is nothing. The records live until the next
  /// call.
  virtual Result<> read(SourceBatch& out, std::chrono::milliseconds wait) = 0;
  /// What was read is in the log now.
  virtual void kept() {}
  /// Records that the other system has and that were not read yet; nullopt: it does not say.
  virtual std::optional<uint64_t> lag() { return std::nullopt; }
};

}  // namespace millrace::connect

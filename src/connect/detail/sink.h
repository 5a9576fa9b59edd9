#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "connect/detail/records.h"

namespace millrace::connect {

/// Where a sink goes on, by partition of its topic.
using SinkPosition = std::map<int32_t, Offset>;

/// Writes to another system. Made for one run, which ends at its first error; used by one thread.
class Sink {
 public:
  virtual ~Sink() = default;
  /// Connects. Gives the position that the other system keeps together with the records; nullopt:
  /// it keeps none, and records may come twice.
  virtual Result<std::optional<SinkPosition>> open() = 0;
  /// Writes `records`, each with the partition and offset that it has here; `next` is the position
  /// behind them. Answers when the other system has acknowledged all. Records may be none.
  virtual Result<> write(const Records& records, const SinkPosition& next) = 0;
  /// Now and then while there is nothing to write: whether the other system is still there, if that
  /// costs little.
  virtual Result<> check() { return {}; }
};

}  // namespace millrace::connect

#pragma once

#include <cstddef>
#include <functional>

#include "base/result.h"

namespace millrace::flow {

/// Threads that share a loop.
class Parallel {
 public:
  virtual ~Parallel() = default;
  /// Calls `piece`, which does not throw, with 0 … count-1, each once, on this thread and on others
  /// that are idle. All calls have returned when this does.
  virtual void each(size_t count, const std::function<void(size_t)>& piece) = 0;
};

/// The same for pieces that fail or throw: gives the error of the first (by number) that did, or
/// throws on what it threw. `parallel`: null, this thread alone.
Result<> for_each_piece(Parallel* parallel, size_t count,
                        const std::function<Result<>(size_t)>& piece);

}  // namespace millrace::flow

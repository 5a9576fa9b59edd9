#pragma once

#include <chrono>
#include <coroutine>
#include <list>

#include "base/io/shard.h"

namespace millrace::io {

/// Wakes those who wait for a change on one shard (a high watermark that moved, room in a queue).
/// No state: the waiter looks again at what it waits for. Belongs to one shard.
class Signal {
 public:
  explicit Signal(Shard& shard) : shard_(shard) {}
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;
  ~Signal();  // checks that nobody waits

  /// Wakes all that wait now. They continue after the current turn of the shard.
  void notify_all();
  /// Continues at the next notify_all() (true) or at `deadline` (false).
  Task<bool> wait_until(std::chrono::steady_clock::time_point deadline);

 private:
  struct Waiter;
  Shard& shard_;
  std::list<Waiter*> waiters_;
};

}  // namespace millrace::io

#pragma once

#include <atomic>
#include <chrono>
#include <memory>

#include "base/io/shard.h"

namespace millrace::io {

/// What one coroutine sleeps on until something happens on another thread. Made and waited for on
/// one shard; a bell that rings while nobody waits is heard by the next wait.
class Bell : public std::enable_shared_from_this<Bell> {
 public:
  explicit Bell(Shard& shard);
  ~Bell();
  Bell(const Bell&) = delete;
  Bell& operator=(const Bell&) = delete;

  /// Any thread.
  void ring();
  /// Continues when the bell has rung since the last wait, or after `most`. One waits at a time.
  Task<void> wait(std::chrono::nanoseconds most);

 private:
  struct Sleeper;
  Shard& shard_;
  std::atomic<bool> rung_ = false;
  Sleeper* sleeper_ = nullptr;  // of the shard
};

}  // namespace millrace::io

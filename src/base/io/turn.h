#pragma once

#include <coroutine>
#include <deque>

#include "base/io/shard.h"

namespace millrace::io {

/// Lets one coroutine through at a time, in the order in which they came: for changes that await
/// in their middle and must not interleave. Belongs to one shard; not for a record's way.
class Turn {
 public:
  explicit Turn(Shard& shard) : shard_(shard) {}
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() { MR_CHECK(!taken_); }

  /// Ends the turn when it goes out of scope.
  class Guard {
   public:
    explicit Guard(Turn& turn) : turn_(&turn) {}
    Guard(Guard&& other) noexcept : turn_(std::exchange(other.turn_, nullptr)) {}
    Guard& operator=(Guard&&) = delete;
    ~Guard() {
      if (turn_) turn_->end();
    }

   private:
    Turn* turn_;
  };

  struct Take;
  /// `auto turn = co_await turns.take();`
  Take take();

 private:
  void end() {
    if (waiting_.empty()) {
      taken_ = false;
      return;
    }
    const auto next = waiting_.front();
    waiting_.pop_front();
    shard_.post([next] { next.resume(); });  // later: who ends a turn may be in a destructor
  }

  Shard& shard_;
  bool taken_ = false;
  std::deque<std::coroutine_handle<>> waiting_;
};

struct Turn::Take {
  Turn& turn;
  bool await_ready() const noexcept { return !std::exchange(turn.taken_, true); }
  void await_suspend(std::coroutine_handle<> h) const { turn.waiting_.push_back(h); }
  Guard await_resume() const { return Guard(turn); }
};
inline Turn::Take Turn::take() { return Take{*this}; }

}  // namespace millrace::io

#pragma once

#include <coroutine>
#include <cstddef>
#include <functional>
#include <list>

#include "base/io/task.h"

namespace millrace::io {

/// Counts what runs in the background on behalf of its owner, so that the owner can stop cleanly:
/// close() refuses new entries, wakes what sleeps on the gate, and waits for the last one to leave.
/// Belongs to one shard. Source: the gate of Seastar, told anew.
class Gate {
 public:
  Gate() = default;
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  ~Gate();  // checks that nothing is inside

  /// False once closed.
  bool try_enter();
  void leave();
  bool closed() const { return closed_; }
  size_t inside() const { return inside_; }

  /// Refuses new entries, runs the stop callbacks, continues when the last one inside has left.
  Task<void> close();

  /// `f` runs when the gate closes (at once if it is closed); keep the handle while interested.
  class OnClose;

 private:
  friend class OnClose;
  size_t inside_ = 0;
  bool closed_ = false;
  std::coroutine_handle<> waiter_ = nullptr;
  std::list<std::function<void()>> callbacks_;
};

/// Registers a callback for the time that it lives.
class Gate::OnClose {
 public:
  OnClose(Gate& gate, std::function<void()> f);
  ~OnClose();
  OnClose(const OnClose&) = delete;
  OnClose& operator=(const OnClose&) = delete;

 private:
  Gate& gate_;
  std::list<std::function<void()>>::iterator at_;
};

}  // namespace millrace::io

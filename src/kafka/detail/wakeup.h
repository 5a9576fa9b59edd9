#pragma once

#include <coroutine>
#include <utility>

namespace millrace::kafka {

/// Wakes the one coroutine that waits, if any; no state of its own: the waiter looks again at what
/// it waits for. One shard. notify() may run the waiter before it returns: call it last.
class Wakeup {
 public:
  Wakeup() = default;
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;

  void notify() {
    if (auto waiter = std::exchange(waiter_, nullptr)) waiter.resume();
  }

  struct Wait {
    Wakeup& wakeup;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) const noexcept { wakeup.waiter_ = h; }
    void await_resume() const noexcept {}
  };
  Wait wait() { return Wait{*this}; }

 private:
  std::coroutine_handle<> waiter_ = nullptr;
};

}  // namespace millrace::kafka

#include "kafka/detail/memory_gate.h"

#include <chrono>
#include <vector>

namespace millrace::kafka {

namespace {
constexpr auto kTick = std::chrono::milliseconds(10);
/// How long nothing moves before one may go on without room.
constexpr int kTicksOfPatience = 50;
}  // namespace

struct MemoryGate::Waiter {
  MemoryGate& gate;
  const bool& cancelled;
  bool exempt = false;
  std::coroutine_handle<> handle = nullptr;

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    handle = h;
    gate.waiters_.push_back(this);
    if (gate.ticking_) return;
    gate.ticking_ = true;
    gate.shard_.spawn(gate.gate_, gate.tick());
  }
  void await_resume() const noexcept {}
};

io::Task<bool> MemoryGate::wait(const bool& cancelled) {
  auto waiter = Waiter{*this, cancelled};
  co_await waiter;
  co_return waiter.exempt;
}

io::Task<void> MemoryGate::tick() {
  int still = 0;
  while (!waiters_.empty()) {
    co_await shard_.sleep(kTick);
    std::vector<Waiter*> ready;
    std::erase_if(waiters_, [&](Waiter* waiter) {
      if (!waiter->cancelled) return false;
      ready.push_back(waiter);
      return true;
    });
    for (size_t room = budget_.room(); room > 0 && !waiters_.empty();
         room -= std::min(room, kTurnBytes)) {
      ready.push_back(waiters_.front());
      waiters_.pop_front();
    }
    still = ready.empty() ? still + 1 : 0;
    if (still >= kTicksOfPatience && budget_.take_exemption()) {
      waiters_.front()->exempt = true;
      ready.push_back(waiters_.front());
      waiters_.pop_front();
      still = 0;
    }
    for (auto* waiter : ready) waiter->handle.resume();
  }
  ticking_ = false;
}

}  // namespace millrace::kafka

#include "base/io/gate.h"

#include <algorithm>

#include "base/io/shard.h"

namespace millrace::io {

Gate::~Gate() { MR_CHECK(inside_ == 0 && callbacks_.empty()); }

bool Gate::try_enter() {
  if (closed_) return false;
  ++inside_;
  return true;
}

void Gate::leave() {
  MR_CHECK(inside_ > 0);
  if (--inside_ > 0 || !waiter_) return;
  // Later, so that the one who leaves ends before the owner goes away.
  const auto waiter = std::exchange(waiter_, nullptr);
  if (auto* shard = Shard::current()) {
    shard->post([waiter] { waiter.resume(); });
  } else {
    waiter.resume();
  }
}

Task<void> Gate::close() {
  closed_ = true;
  // A callback may end others' interest: look from the front each time.
  for (;;) {
    const auto next = std::ranges::find_if(callbacks_, [](const auto& f) { return f != nullptr; });
    if (next == callbacks_.end()) break;
    const auto callback = std::exchange(*next, nullptr);
    callback();
  }
  if (inside_ == 0) co_return;
  MR_CHECK(!waiter_);
  struct Wait {
    Gate& gate;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) const noexcept { gate.waiter_ = h; }
    void await_resume() const noexcept {}
  };
  auto last_left = Wait{*this};
  co_await last_left;
}

Gate::OnClose::OnClose(Gate& gate, std::function<void()> f) : gate_(gate) {
  if (gate.closed_) {
    f();
    f = nullptr;
  }
  at_ = gate.callbacks_.insert(gate.callbacks_.end(), std::move(f));
}

Gate::OnClose::~OnClose() { gate_.callbacks_.erase(at_); }

}  // namespace millrace::io

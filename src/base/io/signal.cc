#include "base/io/signal.h"

#include <boost/asio/steady_timer.hpp>

#include "base/io/detail/shard_impl.h"

namespace millrace::io {

/// The timer's handler is the one place that resumes, so a notice and a deadline cannot both do it.
struct Signal::Waiter {
  std::list<Waiter*>& all;
  boost::asio::steady_timer timer;
  std::list<Waiter*>::iterator at = {};
  bool notified = false;

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    at = all.insert(all.end(), this);
    timer.async_wait([this, h](boost::system::error_code) {
      if (!notified) all.erase(at);
      h.resume();
    });
  }
  bool await_resume() const noexcept { return notified; }
};

Signal::~Signal() { MR_CHECK(waiters_.empty()); }

void Signal::notify_all() {
  for (Waiter* waiter : waiters_) {
    waiter->notified = true;
    waiter->timer.cancel();
  }
  waiters_.clear();
}

Task<bool> Signal::wait_until(std::chrono::steady_clock::time_point deadline) {
  auto waiter = Waiter{waiters_, boost::asio::steady_timer(shard_.impl().context, deadline)};
  co_return co_await waiter;
}

}  // namespace millrace::io

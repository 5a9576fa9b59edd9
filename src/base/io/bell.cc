#include "base/io/bell.h"

#include <boost/asio/steady_timer.hpp>

#include "base/io/detail/shard_impl.h"

namespace millrace::io {

struct Bell::Sleeper {
  boost::asio::steady_timer timer;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    timer.async_wait([h](boost::system::error_code) { h.resume(); });
  }
  void await_resume() const noexcept {}
};

Bell::Bell(Shard& shard) : shard_(shard) {}
Bell::~Bell() { MR_CHECK(!sleeper_); }

void Bell::ring() {
  if (rung_.exchange(true)) return;
  shard_.post([bell = shared_from_this()] {
    if (bell->sleeper_) bell->sleeper_->timer.cancel();
  });
}

Task<void> Bell::wait(std::chrono::nanoseconds most) {
  co_await shard_.enter();
  MR_CHECK(!sleeper_);
  if (rung_.exchange(false)) co_return;
  Sleeper sleeper{boost::asio::steady_timer(shard_.impl().context, most)};
  sleeper_ = &sleeper;
  co_await sleeper;
  sleeper_ = nullptr;
  rung_ = false;
}

}  // namespace millrace::io

#include "base/io/shard.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/io/detail/shard_impl.h"
#include "base/io/gate.h"

namespace millrace::io {

namespace {
thread_local Shard* current_shard = nullptr;

struct TimerAwaiter {
  boost::asio::steady_timer& timer;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) const {
    timer.async_wait([h](boost::system::error_code) { h.resume(); });
  }
  void await_resume() const noexcept {}
};

detail::Detached run_in_gate(Shard& shard, Gate& gate, Task<void> task) {
  // On the gate's shard enter now, so that a close() that follows this call waits for the task.
  bool entered = shard.is_current() && gate.try_enter();
  if (shard.is_current() && !entered) co_return;
  auto yield = detail::Yield{shard};
  co_await yield;
  if (!entered) entered = gate.try_enter();
  if (!entered) co_return;
  {
    Task<void> running = std::move(task);  // its frame is gone before the gate is left
    co_await std::move(running);
  }
  gate.leave();
}
}  // namespace

Shard::Impl::Impl(Shard& s)
    : shard(s),
      work(context.get_executor()),
      files([&s](std::move_only_function<void()> f) { s.post(std::move(f)); }),
      files_done(context) {
  if (files.event_fd() < 0) return;
  files_done.assign(files.event_fd());
  watch_files();
}

Shard::Impl::~Impl() {
  stop();
  if (files_done.is_open()) files_done.release();
}

void Shard::Impl::start() {
  thread = std::thread([this] {
    const std::string name = "shard-" + std::to_string(shard.index());
    ::pthread_setname_np(::pthread_self(), name.c_str());
    // sendfile() to a peer that has gone raises it, and has no flag against that.
    sigset_t pipe;
    ::sigemptyset(&pipe);
    ::sigaddset(&pipe, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    current_shard = &shard;
    context.run();
  });
}

void Shard::Impl::stop() {
  context.stop();
  if (thread.joinable()) thread.join();
}

void Shard::Impl::watch_files() {
  files_done.async_wait(
      boost::asio::posix::stream_descriptor::wait_read, [this](boost::system::error_code failed) {
        if (failed) return;
        uint64_t count = 0;
        [[maybe_unused]] const auto n = ::read(files.event_fd(), &count, sizeof count);
        files.drain();
        watch_files();
      });
}

Shard::Shard(size_t index) : index_(index), impl_(std::make_unique<Impl>(*this)) { impl_->start(); }
Shard::~Shard() = default;

Shard* Shard::current() { return current_shard; }

void Shard::post(std::move_only_function<void()> work) {
  boost::asio::post(impl_->context, std::move(work));
}

Task<void> Shard::sleep(std::chrono::nanoseconds duration, Gate* gate) {
  co_await enter();
  if (gate && gate->closed()) co_return;
  boost::asio::steady_timer timer(impl_->context, duration);
  std::optional<Gate::OnClose> on_close;
  if (gate) on_close.emplace(*gate, [&timer] { timer.cancel(); });
  auto expired = TimerAwaiter{timer};
  co_await expired;
}

void Shard::spawn(Gate& gate, Task<void> task) { run_in_gate(*this, gate, std::move(task)); }

}  // namespace millrace::io

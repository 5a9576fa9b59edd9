#include "wasm/detail/ticker.h"

#include <pthread.h>
#include <time.h>

namespace millrace::wasm {

namespace {
// Ticks without a guest after which it goes to sleep: short gaps cost no waking.
constexpr int kIdleTicks = 200;
}  // namespace

uint64_t thread_cpu_ns() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

Ticker::Ticker(std::function<void()> tick) : tick_(std::move(tick)), thread_([this] { work(); }) {
  pthread_setname_np(thread_.native_handle(), "mr-guest-tick");
}

Ticker::~Ticker() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Ticker::enter() {
  running_.fetch_add(1);
  if (asleep_.load()) {
    std::lock_guard lock(mutex_);
    changed_.notify_one();
  }
}

void Ticker::work() {
  std::unique_lock lock(mutex_);
  int idle = 0;
  while (!stopping_) {
    idle = running_.load() > 0 ? 0 : idle + 1;
    if (idle > kIdleTicks) {
      asleep_.store(true);
      changed_.wait(lock, [&] { return stopping_ || running_.load() > 0; });
      asleep_.store(false);
      idle = 0;
    }
    if (changed_.wait_for(lock, kTick, [&] { return stopping_; })) return;
    tick_();
  }
}

}  // namespace millrace::wasm

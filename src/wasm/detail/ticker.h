#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace millrace::wasm {

/// CPU time of this thread, in nanoseconds.
uint64_t thread_cpu_ns();

/// Calls a function at a steady pace while guests run, and sleeps while none does: a node at rest
/// wakes for nothing.
class Ticker {
 public:
  static constexpr std::chrono::milliseconds kTick{5};

  explicit Ticker(std::function<void()> tick);
  ~Ticker();
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;

  /// Around what must be ticked for. Any thread; an atomic add each, unless the ticker slept.
  void enter();
  void leave() { running_.fetch_sub(1); }

 private:
  void work();

  std::function<void()> tick_;
  std::atomic<int> running_ = 0;
  std::atomic<bool> asleep_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace millrace::wasm

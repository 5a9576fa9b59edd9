#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "wasm/chain.h"

namespace millrace::connect {

/// What a connector's thread tells, and is told. Any thread.
class Progress {
 public:
  // ---- the connector's thread

  bool stopping() const { return stop_at_.load(std::memory_order_acquire) != kNever; }
  /// Whether it was told to stop a while ago: what waits for another system gives up.
  bool overdue() const {
    const auto at = stop_at_.load(std::memory_order_acquire);
    return at != kNever && now() - at > kGrace.count();
  }
  /// Continues after `duration`, or when somebody rings or stops it.
  void sleep(std::chrono::milliseconds duration) {
    std::unique_lock lock(mutex_);
    rung_changed_.wait_for(lock, duration, [&] { return rung_ || stopping(); });
    rung_ = false;
  }
  void kept(uint64_t records, uint64_t bytes) {
    records_.fetch_add(records, std::memory_order_relaxed);
    bytes_.fetch_add(bytes, std::memory_order_relaxed);
    rounds_.fetch_add(1, std::memory_order_relaxed);
  }
  /// Whether the other system has been reached in this run.
  void set_open(bool open) { open_.store(open, std::memory_order_relaxed); }
  void set_lag(std::optional<uint64_t> lag) {
    lag_.store(lag ? static_cast<int64_t>(*lag) : -1, std::memory_order_relaxed);
  }
  void set_chain(std::shared_ptr<wasm::Chain> chain) {
    std::lock_guard lock(mutex_);
    chain_ = std::move(chain);
  }
  void lose(uint64_t records) { lost_.fetch_add(records, std::memory_order_relaxed); }

  // ---- others

  void ring() {
    std::lock_guard lock(mutex_);
    rung_ = true;
    rung_changed_.notify_all();
  }
  void stop() {
    auto never = kNever;
    stop_at_.compare_exchange_strong(never, now(), std::memory_order_acq_rel);
    ring();
  }
  bool open() const { return open_.load(std::memory_order_relaxed); }
  uint64_t records() const { return records_.load(std::memory_order_relaxed); }
  uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  /// Grows whenever something was kept.
  uint64_t rounds() const { return rounds_.load(std::memory_order_relaxed); }
  uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }
  std::optional<uint64_t> lag() const {
    const auto lag = lag_.load(std::memory_order_relaxed);
    return lag < 0 ? std::nullopt : std::optional(static_cast<uint64_t>(lag));
  }
  std::shared_ptr<wasm::Chain> chain() const {
    std::lock_guard lock(mutex_);
    return chain_;
  }

 private:
  /// What is under way has so long to end well.
  static constexpr std::chrono::milliseconds kGrace{2'000};
  static constexpr int64_t kNever = -1;
  static int64_t now() {
    return std::chrono::ceil<std::chrono::milliseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }

  std::atomic<int64_t> stop_at_ = kNever;
  std::atomic<bool> open_ = false;
  std::atomic<uint64_t> records_ = 0, bytes_ = 0, rounds_ = 0, lost_ = 0;
  std::atomic<int64_t> lag_ = -1;
  mutable std::mutex mutex_;
  std::condition_variable rung_changed_;
  bool rung_ = false;
  std::shared_ptr<wasm::Chain> chain_;
};

}  // namespace millrace::connect

#pragma once

#include <atomic>
#include <cstddef>
#include <utility>

namespace millrace::io {

/// What a node may hold in memory for its clients: requests that came, answers that have not gone.
/// Who is about to hold more looks whether there is room, and waits (stops reading its socket)
/// while there is none. What is there is counted even past the limit, so that the account is always
/// true; since everyone stops at the limit, it is passed by little. Any thread.
class MemoryBudget {
 public:
  explicit MemoryBudget(size_t limit) : limit_(limit) {}
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;

  /// Bytes that are counted as long as this lives.
  class Held {
   public:
    explicit Held(MemoryBudget& budget, size_t bytes = 0) : budget_(&budget) { set(bytes); }
    Held(Held&& other) noexcept : budget_(other.budget_), bytes_(std::exchange(other.bytes_, 0)) {}
    Held& operator=(Held&& other) noexcept {
      std::swap(budget_, other.budget_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Held() { set(0); }
    /// Counts `bytes` from now on, instead of what it counted.
    void set(size_t bytes) {
      if (bytes == bytes_) return;
      budget_->used_.fetch_add(bytes - bytes_, std::memory_order_relaxed);  // may wrap: it is a sum
      bytes_ = bytes;
    }
    size_t bytes() const { return bytes_; }

   private:
    MemoryBudget* budget_;
    size_t bytes_ = 0;
  };

  size_t limit() const { return limit_; }
  size_t used() const { return used_.load(std::memory_order_relaxed); }
  bool has_room() const { return used() < limit_; }
  /// Bytes up to the limit.
  size_t room() const {
    const size_t now = used();
    return now < limit_ ? limit_ - now : 0;
  }

  /// The right to go on without room: one holder at a time, so that what many have begun and none
  /// can end does not stand for ever. True: taken, and to be given back.
  bool take_exemption() { return !exempt_.exchange(true); }
  void give_back_exemption() { exempt_ = false; }

 private:
  const size_t limit_;
  std::atomic<size_t> used_{0};
  std::atomic<bool> exempt_{false};
};

}  // namespace millrace::io

#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "table/row_memory.h"

namespace millrace::flow {

/// What the state of all views of a node may take of its memory. Any thread.
class StateBudget {
 public:
  struct Limits {
    size_t state_bytes_max = 0;     // of views, in memory; 0: no limit
    size_t resident_bytes_max = 0;  // of the process, while it has state on disk
    std::string folder;             // where state goes that is too much; empty: nowhere
  };
  explicit StateBudget(Limits limits) : limits_(std::move(limits)) {}

  const Limits& limits() const { return limits_; }
  /// From half of the limit on, what is new goes to disk: the rest is for what cannot.
  bool spills() const {
    return limits_.state_bytes_max > 0 && !limits_.folder.empty() &&
           in_memory() >= limits_.state_bytes_max / 2;
  }
  /// Whether a view that holds `bytes` in memory has to wait: all together are over the limit, and
  /// it is over its share.
  bool is_full(size_t bytes) const {
    return limits_.state_bytes_max > 0 && in_memory() > limits_.state_bytes_max &&
           bytes * static_cast<size_t>(views_) > limits_.state_bytes_max;
  }
  /// True at most once a second.
  bool may_trim_heap() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch() / std::chrono::seconds(1);
    return heap_trimmed_s_.exchange(now) != now;
  }
  size_t in_memory() const { return static_cast<size_t>(std::max<int64_t>(in_memory_, 0)); }

 private:
  friend class StateMemory;
  const Limits limits_;
  std::atomic<int64_t> in_memory_ = 0;
  std::atomic<int64_t> views_ = 0;
  std::atomic<int64_t> heap_trimmed_s_ = 0;
};

/// The memory of one view's state. When the views have used up what they may, further memory is a
/// file, without a name and mapped: the system writes out what is not in use, and reads what is
/// wanted again, page by page. Any thread.
class StateMemory : public table::RowMemory {
 public:
  /// Without a budget there is no limit.
  explicit StateMemory(std::shared_ptr<StateBudget> budget = nullptr);
  ~StateMemory() override;
  StateMemory(const StateMemory&) = delete;

  /// Aligned to 64 KiB; there until the end.
  void* take(size_t bytes);
  /// Aligned to 16 bytes; to be given back, `bytes` as then. Null may be given back.
  void* borrow(size_t bytes) override;
  void give_back(void* borrowed, size_t bytes) override;
  size_t spilled_bytes() const { return spilled_bytes_; }
  /// Tells how large the view's state is in all; gives what of it is in memory.
  size_t report(size_t state_bytes);
  /// Whether the view has to wait until there is memory again.
  bool is_full() const;
  /// Leaves what is in the file to the system's cache, when the process takes more than it may.
  void trim();

  /// While it lives, state that this thread makes (a dataflow, a table's rows) has this memory.
  class Scope {
   public:
    explicit Scope(std::shared_ptr<StateMemory> memory);
    ~Scope();

   private:
    std::shared_ptr<StateMemory> before_;
  };
  /// That of the scope; without one, memory of its own.
  static std::shared_ptr<StateMemory> current();

 private:
  struct Mapping {
    char* at;
    size_t bytes;
  };
  void* take_spilled(size_t bytes);
  void* borrow_spilled(size_t bytes);
  bool is_spilled(const void* borrowed);
  bool map_more(size_t bytes);
  bool open_file();

  const std::shared_ptr<StateBudget> budget_;
  std::mutex mutex_;
  std::vector<Mapping> regions_;
  std::map<size_t, std::vector<void*>> given_back_;  // of the file, by size
  int file_ = -1;
  bool file_fails_ = false;
  std::mutex mappings_mutex_;
  std::vector<Mapping> mappings_;
  size_t file_bytes_ = 0;
  char* next_ = nullptr;  // of the last mapping, what is not in use
  size_t left_ = 0;
  std::atomic<size_t> kept_bytes_ = 0, spilled_bytes_ = 0;  // of what was taken
  std::atomic<size_t> other_bytes_ = 0;                     // what the view has besides
};

}  // namespace millrace::flow

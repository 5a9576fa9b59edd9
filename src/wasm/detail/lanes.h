#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace millrace::wasm {

/// The threads that guests run on. Work stands in one queue; each of its sources (a chain) has at
/// most all lanes but two at a time (at least one): where lanes are one more than the cores, a
/// guest that is slow leaves a core to the shards and a lane to other guests.
/// Any thread.
class Lanes {
 public:
  using Work = std::move_only_function<void()>;

  /// The work of one source that waits for its turn.
  struct Source {
    size_t running = 0;
    std::deque<Work> waiting;
  };

  explicit Lanes(size_t count);
  /// What was added has run.
  ~Lanes();
  Lanes(const Lanes&) = delete;
  Lanes& operator=(const Lanes&) = delete;

  size_t count() const { return threads_.size(); }
  void add(std::shared_ptr<Source> source, Work work);

 private:
  struct Ready {
    std::shared_ptr<Source> source;
    Work work;
  };
  void work();

  const size_t each_max_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Ready> ready_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace millrace::wasm

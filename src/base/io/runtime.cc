#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "base/io/detail/shard_impl.h"
#include "base/io/shard.h"

namespace millrace::io {

struct Runtime::Pool {
  explicit Pool(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      threads.emplace_back([this] { run(); });
    }
  }
  /// Runs what is queued to its end.
  ~Pool() {
    {
      std::lock_guard lock(mutex);
      stopping = true;
    }
    changed.notify_all();
    for (auto& thread : threads) thread.join();
  }

  void run() {
    ::pthread_setname_np(::pthread_self(), "pool");
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return stopping || !queue.empty(); });
      if (queue.empty()) return;
      {
        auto work = std::move(queue.front());
        queue.pop_front();
        lock.unlock();
        work();
      }
      lock.lock();
    }
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::move_only_function<void()>> queue;
  bool stopping = false;
  std::vector<std::thread> threads;
};

Runtime::Runtime(size_t shards, size_t pool_threads) {
  MR_CHECK(shards > 0);
  for (size_t i = 0; i < shards; ++i) shards_.push_back(std::make_unique<Shard>(i));
  pool_ = std::make_unique<Pool>(pool_threads);
}

Runtime::~Runtime() {
  pool_.reset();
  // Every thread stands still before the first shard is freed: they post to each other.
  for (auto& shard : shards_) shard->impl().stop();
}

void Runtime::run_in_pool(std::move_only_function<void()> work) {
  {
    std::lock_guard lock(pool_->mutex);
    pool_->queue.push_back(std::move(work));
  }
  pool_->changed.notify_one();
}

}  // namespace millrace::io

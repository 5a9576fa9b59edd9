#include "wasm/detail/lanes.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace millrace::wasm {

Lanes::Lanes(size_t count) : each_max_(std::max<size_t>(count, 3) - 2) {
  for (size_t i = 0; i < std::max<size_t>(count, 1); ++i) {
    threads_.emplace_back([this] { work(); });
    pthread_setname_np(threads_.back().native_handle(), "mr-guest");
  }
}

Lanes::~Lanes() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (auto& thread : threads_) thread.join();
  MR_CHECK(ready_.empty());
}

void Lanes::add(std::shared_ptr<Source> source, Work work) {
  {
    std::lock_guard lock(mutex_);
    if (source->running == each_max_) {
      source->waiting.push_back(std::move(work));
      return;
    }
    ++source->running;
    ready_.push_back({std::move(source), std::move(work)});
  }
  changed_.notify_one();
}

void Lanes::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stopping_ || !ready_.empty(); });
    if (ready_.empty()) return;
    Ready next = std::move(ready_.front());
    ready_.pop_front();
    lock.unlock();
    next.work();
    next.work = nullptr;
    lock.lock();
    // Its next one stands behind what others asked for meanwhile.
    if (next.source->waiting.empty()) {
      --next.source->running;
    } else {
      auto more = std::move(next.source->waiting.front());
      next.source->waiting.pop_front();
      ready_.push_back({std::move(next.source), std::move(more)});
    }
  }
}

}  // namespace millrace::wasm

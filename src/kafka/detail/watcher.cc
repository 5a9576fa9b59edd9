#include "kafka/detail/watcher.h"

#include <fmt/format.h>

#include <atomic>

namespace millrace::kafka {

namespace {
using Clock = std::chrono::steady_clock;

/// A partition that nobody asked about for so long is no longer listened to. Shorter than that, a
/// poll a moment later would have to cross to the owner again.
constexpr auto kIdleMax = std::chrono::seconds(60);
/// New partitions between two looks for those that are idle.
constexpr size_t kChecksBetween = 256;

Offset readable(const broker::Partition& partition, log::Isolation isolation) {
  return isolation == log::Isolation::kCommitted ? partition.last_stable_offset()
                                                 : partition.high_watermark();
}
}  // namespace

struct Watcher::Link {
  /// Whether someone waits. Set before the waiter looks at the partition's offsets, taken after
  /// these have moved, with a fence between on both sides: so one of the two sees the other.
  std::atomic<bool> armed{false};
};

struct Watcher::Watched {
  std::shared_ptr<broker::Partition> partition;
  std::shared_ptr<Link> link;
  std::list<Waiting*> waiting;
  Clock::time_point used;
};

Watcher::Watcher(io::Shard& shard)
    : shard_(shard),
      name_(fmt::format("kafka-polls-{}", shard.index())),
      self_(std::make_shared<Watcher*>(this)) {}

Watcher::~Watcher() { MR_CHECK(watched_.empty()); }

Watcher::Interest::Interest(Watcher& watcher, std::shared_ptr<broker::Partition> partition,
                            Offset offset, log::Isolation isolation, io::Signal& signal)
    : waiting_{&signal, offset, isolation, nullptr} {
  auto& watched = watcher.watch(std::move(partition));
  waiting_.of = &watched;
  watched.waiting.push_back(&waiting_);
  watched.used = Clock::now();
  watched.link->armed.store(true, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

Watcher::Interest::~Interest() {
  if (waiting_.of) waiting_.of->waiting.remove(&waiting_);
}

Watcher::Watched& Watcher::watch(std::shared_ptr<broker::Partition> partition) {
  auto* key = partition.get();
  const auto known = watched_.find(key);
  if (known != watched_.end()) return known->second;
  if (++idle_checks_ % kChecksBetween == 0) forget_idle();
  auto& watched = watched_[key];
  watched.link = std::make_shared<Link>();
  watched.partition = std::move(partition);
  watched.partition->on_advance(name_, [link = watched.link, self = self_, key, &shard = shard_] {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!link->armed.load(std::memory_order_relaxed)) return;
    if (!link->armed.exchange(false)) return;
    shard.post([self, key] {
      if (*self) (*self)->told(key);
    });
  });
  return watched;
}

void Watcher::told(broker::Partition* key) {
  const auto at = watched_.find(key);
  if (at == watched_.end()) return;
  auto& watched = at->second;
  // Those who still wait must be told of the next move, and perhaps of one that came just now.
  watched.link->armed.store(true, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  watched.waiting.remove_if([&](Waiting* waiting) {
    if (readable(*watched.partition, waiting->isolation) <= waiting->offset) return false;
    waiting->of = nullptr;
    waiting->signal->notify_all();
    return true;
  });
  if (watched.waiting.empty()) watched.link->armed.store(false, std::memory_order_relaxed);
}

void Watcher::forget_idle() {
  const auto oldest = Clock::now() - kIdleMax;
  for (auto at = watched_.begin(); at != watched_.end();) {
    auto& watched = at->second;
    const bool idle = watched.used < oldest || watched.partition->closed();
    if (idle && watched.waiting.empty()) {
      unlink(watched);
      at = watched_.erase(at);
    } else {
      ++at;
    }
  }
}

void Watcher::unlink(Watched& watched) { watched.partition->on_advance(name_, nullptr); }

io::Task<void> Watcher::close() {
  *self_ = nullptr;
  for (auto& [key, watched] : watched_) {
    MR_CHECK(watched.waiting.empty());
    unlink(watched);
  }
  watched_.clear();
  co_return;
}

}  // namespace millrace::kafka

#include "kafka/detail/watcher.h"

#include <algorithm>

namespace millrace::kafka {

namespace {
// A wait on the owner cannot be withdrawn, so it is made of slices: this bounds how long a closed
// watcher lingers, and how late a poll hears of records that came just before it asked.
constexpr std::chrono::milliseconds kSlice(200);
}  // namespace

Watcher::Interest::Interest(Watcher& watcher, std::shared_ptr<broker::Partition> partition,
                            Offset offset, io::Signal& signal)
    : waiting_{&signal, offset, nullptr} {
  auto* key = partition.get();
  auto [at, fresh] = watcher.watched_.try_emplace(key);
  waiting_.of = &at->second;
  at->second.waiting.push_back(&waiting_);
  if (!fresh) return;
  at->second.partition = std::move(partition);
  watcher.shard_.spawn(watcher.gate_, watcher.watch(key));
}

Watcher::Interest::~Interest() {
  if (waiting_.of) waiting_.of->waiting.remove(&waiting_);
}

void Watcher::tell(Watched& watched, bool all) {
  const Offset high_watermark = watched.partition->high_watermark();
  watched.waiting.remove_if([&](Waiting* waiting) {
    if (!all && high_watermark <= waiting->offset) return false;
    waiting->of = nullptr;
    waiting->signal->notify_all();
    return true;
  });
}

io::Task<void> Watcher::watch(broker::Partition* key) {
  auto& watched = watched_.at(key);  // a map's values stay where they are
  while (!watched.waiting.empty() && !gate_.closed()) {
    const Offset offset = (*std::ranges::min_element(watched.waiting, {}, [](Waiting* w) {
                            return w->offset;
                          }))->offset;
    const auto deadline = std::chrono::steady_clock::now() + kSlice;
    const bool moved = co_await watched.partition->wait_past(offset, deadline);
    // False before the deadline: the partition is closed, and the poll will hear so from it.
    tell(watched, !moved && std::chrono::steady_clock::now() < deadline);
    if (moved && !watched.waiting.empty()) {
      // This thread's view may lag behind the owner's; those who wait for `offset` were answered.
      watched.waiting.remove_if([&](Waiting* waiting) {
        if (waiting->offset > offset) return false;
        waiting->of = nullptr;
        waiting->signal->notify_all();
        return true;
      });
    }
  }
  watched_.erase(key);
}

}  // namespace millrace::kafka

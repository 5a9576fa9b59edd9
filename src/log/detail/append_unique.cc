#include <ranges>

#include "base/logging.h"
#include "log/detail/compaction.h"
#include "log/detail/dedup.h"
#include "log/detail/partition_log_impl.h"
#include "log/recompress.h"

// Appends to a topic that leaves out what it had before.

namespace millrace::log::detail {

io::Task<Result<AppendResult>> PartitionLogImpl::append_unique(std::string batches, Ack ack) {
  auto turn = co_await dedup_turn_.take();
  if (closing_) co_return Error{ErrorCode::kShuttingDown, path_ + " is closing"};
  if (!dedup_ || dedup_->config() != config_.dedup) MR_CO_TRY(co_await recall_dedup());
  const auto window = dedup_;
  const size_t inflated_max = intake_rules(config_, false).inflated_bytes_max;
  DedupWindow::Ids added;
  for (;;) {
    added.clear();
    MR_CO_TRY(const bool known, window->filter(batches, env_.now_ms(), inflated_max, added));
    if (known) break;
    // A record like one of these is on its way: they are duplicates only if it arrives. All that
    // come later wait too, as the order must stay.
    co_await dedup_settled_.wait_until(std::chrono::steady_clock::now() + std::chrono::hours(1));
  }
  auto appending = append_all(std::move(batches), ack);
  {
    // The next one continues in a later turn of the shard, when this one is in the queue.
    const auto ended = std::move(turn);
  }
  auto result = co_await std::move(appending);
  window->settle(added, result.has_value());
  dedup_settled_.notify_all();
  co_return result;
}

/// Makes the window anew from the log's tail, as far back as it reaches.
io::Task<Result<>> PartitionLogImpl::recall_dedup() {
  auto window = std::make_shared<DedupWindow>(env_.random(), config_.dedup);
  const TimestampMs now = env_.now_ms();
  std::vector<std::vector<DedupWindow::Old>> newest_first;
  size_t count = 0;
  for (Offset at = end_offset_; !segments_.empty() && at >= 0 && count < config_.dedup.count;) {
    Segment& segment = segment_of(at);
    const Reading reading(segment);
    if (segment.size() > 0 && segment.max_timestamp() < now - config_.dedup.age_ms) break;
    MR_CO_TRY(auto* file, segment.file());
    BatchChunks chunks(*file, segment.size());
    auto& old = newest_first.emplace_back();
    for (;;) {
      MR_CO_TRY(const auto batches, co_await chunks.next());
      if (batches.empty()) break;
      MR_CO_TRY(window->collect(batches, old));
    }
    count += old.size();
    at = segment.base() > segments_.front()->base() ? segment.base() - 1 : -1;
  }
  for (const auto& old : std::views::reverse(newest_first)) window->recall(old, now);
  logging::debug("a window of duplicates is made anew", {{"log", path_}, {"records", count}});
  dedup_ = std::move(window);
  co_return Result<>();
}

}  // namespace millrace::log::detail

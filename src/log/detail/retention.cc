#include <fmt/format.h>

#include <algorithm>

#include "base/logging.h"
#include "log/detail/partition_log_impl.h"

namespace millrace::log::detail {

namespace {
constexpr size_t kScanBytes = 256 * 1024;
}  // namespace

/// Everything at or past this offset stays.
Offset PartitionLogImpl::keep_from() const {
  Offset keep = high_watermark_;
  for (const auto& [who, offset] : holds_) keep = std::min(keep, offset);
  return keep;
}

Result<> PartitionLogImpl::drop_oldest() {
  const Offset start = std::max(start_offset_, segments_[1]->base());
  MR_TRY(segments_.front()->remove());
  segments_.pop_front();
  start_offset_ = start;
  clean_on_disk_ = false;
  return {};
}

/// Files of a partition that nobody appends to are closed, so that thousands of partitions need no
/// thousands of them; who comes next opens them again.
void PartitionLogImpl::close_idle_files() {
  const bool idle = end_seen_ == end_offset_ && !writing_ && !syncing_ && queue_.empty() &&
                    unsynced_.empty() && !sync_failed_ && !tail_dirty_;
  end_seen_ = end_offset_;
  if (!idle) return;
  for (const auto& segment : segments_) {
    if (segment->readers > 0 || !segment->is_open()) continue;
    if (segment.get() == &active()) {
      segment->close_file();
    } else {
      segment->unload();
    }
  }
}

io::Task<Result<>> PartitionLogImpl::enforce_retention() {
  if (segments_.empty() || closing_) co_return Result<>();
  close_idle_files();
  const auto expired = [this](const Segment& segment) {
    return config_.cleanup_delete && config_.retention_ms >= 0 && segment.size() > 0 &&
           segment.max_timestamp() < env_.now_ms() - config_.retention_ms;
  };
  // When all has expired, the last segment too must make way.
  if (expired(active()) && high_watermark_ <= keep_from()) MR_CO_TRY(co_await request_roll());
  uint64_t bytes = size_bytes();
  while (segments_.size() > 1) {
    Segment& oldest = *segments_.front();
    const bool needless = segments_[1]->base() <= start_offset_;
    const bool too_much = config_.cleanup_delete && config_.retention_bytes >= 0 &&
                          bytes - oldest.size() >= static_cast<uint64_t>(config_.retention_bytes);
    if (!needless && !too_much && !expired(oldest)) break;
    // What is being read goes the next time.
    if (segments_[1]->base() > keep_from() || oldest.readers > 0) break;
    bytes -= oldest.size();
    MR_CO_TRY(drop_oldest());
  }
  co_return Result<>();
}

io::Task<Result<>> PartitionLogImpl::delete_records(Offset offset) {
  if (offset < 0 || offset > high_watermark_) {
    co_return Error{ErrorCode::kOffsetOutOfRange,
                    fmt::format("cannot delete before offset {}: {} ends at {}", offset, path_,
                                high_watermark_)};
  }
  if (offset <= start_offset_) co_return Result<>();
  MR_CO_TRY(save_start(offset));
  start_offset_ = offset;
  while (segments_.size() > 1 && segments_[1]->base() <= start_offset_ &&
         segments_[1]->base() <= keep_from() && segments_.front()->readers == 0) {
    MR_CO_TRY(drop_oldest());
  }
  co_return Result<>();
}

io::Task<Result<>> PartitionLogImpl::truncate_to(Offset offset) {
  auto turn = co_await cleaning_.take();
  if (swap_) MR_CO_TRY(co_await finish_swap());
  co_await until_idle();
  if (offset >= end_offset_) co_return Result<>();
  if (offset < start_offset_) {
    co_return Error{
        ErrorCode::kOffsetOutOfRange,
        fmt::format("cannot cut {} at offset {}: it begins at {}", path_, offset, start_offset_)};
  }
  if (roll_begun_) MR_CO_TRY(co_await request_roll());
  MR_CO_TRY(co_await ready_to_write());
  MR_CO_TRY(save_compacted(std::min(clean_to_, offset), std::min(gaps_to_, offset)));
  Segment& last = segment_of(offset);
  // Where the cut falls; it must be between two batches.
  Segment::Mark cut;
  bool found = false;
  Segment probe(env_.files(), path_, last.base());
  Segment::Each each = [&](const BatchHeader& header) {
    if (header.last_offset() < offset) cut.size = probe.size();
    found |= header.base_offset == offset;
  };
  MR_CO_TRY(co_await probe.scan(false, config_.index_interval_bytes, each));
  if (!found) {
    co_return Error{ErrorCode::kInvalidArgument,
                    fmt::format("cannot cut {} at offset {}: it is inside a batch", path_, offset)};
  }
  while (&active() != &last) {
    MR_CO_TRY(active().remove());
    segments_.pop_back();
  }
  // It may tell of what goes now.
  if (env_.files().exists(path_ + "/synced")) MR_CO_TRY(env_.files().remove(path_ + "/synced"));
  noted_base_ = -1;
  MR_CO_TRY(env_.files().sync_folder(path_));
  MR_CO_TRY(auto* file, last.file());
  MR_CO_TRY(co_await file->truncate(cut.size));
  ahead_ = 0;
  cursors_ = {};
  ended_.clear();
  MR_CO_TRY(producers_, co_await producers_at(last.base()));
  MR_CO_TRY(co_await recover_tail());
  high_watermark_ = end_offset_;
  visible_position_ = last.size();
  co_return Result<>();
}

io::Task<Result<TimeOffset>> PartitionLogImpl::offset_for_time(TimestampMs timestamp) {
  Offset from = start_offset_;
  while (from < high_watermark_) {
    Segment& segment = segment_of(from);
    const Reading reading(segment);
    if (segment.max_timestamp() >= timestamp) {
      MR_CO_TRY(co_await segment.load_index());
      from = std::max(from, segment.offset_before(timestamp));
      co_return co_await find_timestamp(from, timestamp);
    }
    if (&segment == &active()) break;
    const auto next = std::ranges::find_if(
        segments_, [&](const auto& other) { return other->base() > segment.base(); });
    from = (*next)->base();
  }
  co_return TimeOffset{};
}

/// The first record from `from` on that is at or past `timestamp`, batch by batch.
io::Task<Result<TimeOffset>> PartitionLogImpl::find_timestamp(Offset from, TimestampMs timestamp) {
  TimeOffset found;
  while (from < high_watermark_ && found.offset < 0) {
    from = std::max(from, start_offset_);
    MR_CO_TRY(const auto chunk, co_await read(from, kScanBytes, Isolation::kUncommitted));
    if (chunk.batches.empty()) break;
    std::string_view rest = chunk.batches;
    while (!rest.empty() && found.offset < 0) {
      const auto header = parse_batch_header(rest);
      const auto batch = rest.substr(0, header->total_bytes());
      rest.remove_prefix(batch.size());
      if (header->max_timestamp < timestamp) continue;
      const auto each = [&](const RecordView& record) {
        if (found.offset >= 0 || record.offset < from || record.timestamp < timestamp) return;
        found = {record.offset, record.timestamp};
      };
      MR_CO_TRY(for_each_record(batch, false, each));
    }
    from = chunk.next_offset;
  }
  co_return found;
}

io::Task<Result<TimeOffset>> PartitionLogImpl::max_timestamp() {
  TimeOffset best;
  for (const auto& segment : segments_) {
    if (segment->max_timestamp_offset() >= 0 && segment->max_timestamp() > best.timestamp) {
      best = {segment->max_timestamp_offset(), segment->max_timestamp()};
    }
  }
  if (best.offset < 0) co_return best;
  // The segments know of what nobody may see (yet, or any more): then look through the records.
  if (best.offset < start_offset_ || best.offset >= high_watermark_) {
    co_return co_await scan_max_timestamp();
  }
  MR_CO_TRY(const auto found, co_await find_timestamp(best.offset, best.timestamp));
  if (found.offset >= 0) co_return found;
  co_return co_await scan_max_timestamp();  // it was that of a batch without records
}

io::Task<Result<TimeOffset>> PartitionLogImpl::scan_max_timestamp() {
  TimeOffset best;
  for (Offset from = start_offset_; from < high_watermark_;) {
    MR_CO_TRY(const auto chunk, co_await read(from, kScanBytes, Isolation::kUncommitted));
    if (chunk.batches.empty()) break;
    const auto each = [&](const RecordView& record) {
      if (record.offset < from || record.timestamp <= best.timestamp) return;
      best = {record.offset, record.timestamp};
    };
    MR_CO_TRY(for_each_record(chunk.batches, false, each));
    from = chunk.next_offset;
  }
  co_return best;
}

}  // namespace millrace::log::detail

#include "log/detail/compaction.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/logging.h"
#include "log/detail/cleaner.h"
#include "log/detail/partition_log_impl.h"

namespace millrace::log::detail {

namespace {
constexpr size_t kWriteBytes = 1u << 20;
constexpr int64_t kSegmentOffsetsMax = INT32_MAX;
constexpr uint64_t kSegmentBytesMax = 1u << 30;

/// Runs `f` in the pool, if there is one.
template <typename F>
io::Task<std::invoke_result_t<F>> off_shard(io::Runtime* pool, F f) {
  if (pool == nullptr) co_return f();
  co_return co_await pool->blocking(std::move(f));
}
}  // namespace

/// What one pass works with.
struct PartitionLogImpl::Pass {
  const CompactionContext& context;
  Cleaner cleaner;
  std::string out;
};

io::Task<Result<>> PartitionLogImpl::compact(CompactionContext context) {
  if (!config_.cleanup_compact || uncleanable_ || closing_ || segments_.empty() ||
      !gate_.try_enter()) {
    co_return Result<>();
  }
  auto result = co_await compact_in_turn(context);
  gate_.leave();
  if (!result && result.error().code == ErrorCode::kCorruptRecord) uncleanable_ = true;
  co_return result;
}

io::Task<Result<>> PartitionLogImpl::compact_in_turn(const CompactionContext& context) {
  auto turn = co_await cleaning_.take();
  if (swap_) MR_CO_TRY(co_await finish_swap());
  const auto stopped = [&] { return closing_ || (context.stop && context.stop()); };
  if (stopped() || segments_.empty()) co_return Result<>();
  // Only closed segments are compacted: what has waited long enough must not wait for its
  // segment to fill.
  const int64_t age_max = std::min(config_.segment_ms, config_.max_compaction_lag_ms);
  if (active().size() > 0 && env_.now_ms() - active().first_append_ms > age_max) {
    MR_CO_TRY(co_await request_roll());
  }
  while (!stopped()) {
    const auto dirty = find_dirty();
    if (!dirty.worth) break;
    const Offset before = clean_to_;
    const uint64_t bytes_before = size_bytes();
    auto cleaned = co_await clean_segments(dirty, context);
    std::erase_if(retired_, [](const auto& segment) { return segment->readers == 0; });
    if (!cleaned) co_return std::move(cleaned);
    if (clean_to_ == before) break;  // it was stopped
    compactions_.add();
    logging::debug("compacted", {{"log", path_},
                                 {"from", before},
                                 {"to", clean_to_},
                                 {"bytes_before", bytes_before},
                                 {"bytes_after", size_bytes()}});
  }
  co_return Result<>();
}

/// Closed segments whose records are all stable, past the minimum lag and not held. Source: the
/// choice of Kafka's LogCleanerManager.
Dirty PartitionLogImpl::find_dirty() const {
  Dirty dirty;
  const Offset bound = std::min(keep_from(), last_stable_offset());
  const int64_t now = env_.now_ms();
  uint64_t clean_bytes = 0;
  uint64_t dirty_bytes = 0;
  bool overdue = false;
  for (size_t i = 0; i + 1 < segments_.size(); ++i) {
    const Segment& segment = *segments_[i];
    const Offset end = segments_[i + 1]->base();
    if (end > bound) break;
    if (end > clean_to_) {
      if (segment.max_timestamp() > now - config_.min_compaction_lag_ms) break;
      dirty_bytes += segment.size();
      const auto since = std::min<int64_t>(segment.first_append_ms, segment.max_timestamp());
      overdue |= now - since > config_.max_compaction_lag_ms;
    } else {
      clean_bytes += segment.size();
    }
    dirty.segments = i + 1;
    dirty.end = end;
  }
  const auto share = static_cast<double>(dirty_bytes) /
                     std::max(1.0, static_cast<double>(clean_bytes + dirty_bytes));
  dirty.worth = dirty.end > clean_to_ && dirty_bytes > 0 &&
                (overdue || share > config_.min_cleanable_dirty_ratio);
  return dirty;
}

/// Everything that the thinking needs to know of the log, as it is now.
io::Task<Result<Cleaner>> PartitionLogImpl::make_cleaner(Dirty dirty) {
  Cleaner::Task task;
  task.first_dirty = std::max(clean_to_, start_offset_);
  task.end = dirty.end;
  task.now = env_.now_ms();
  task.delete_retention_ms = config_.delete_retention_ms;
  task.seed = env_.random();
  task.keys_max = config_.compaction_keys_max;
  // Markers may stand long after what they abort.
  for (Offset at = segments_.front()->base(); at >= 0;) {
    Segment& segment = segment_of(at);
    const Reading reading(segment);
    MR_CO_TRY(co_await load_aborted(segment));
    for (const auto& entry : segment.aborted.entries()) {
      task.aborted.push_back({entry.producer_id, entry.first_offset, entry.last_offset});
    }
    const auto after = std::ranges::upper_bound(segments_, segment.base(), {},
                                                [](const auto& s) { return s->base(); });
    at = after == segments_.end() ? -1 : (*after)->base();
  }
  for (const auto& producer : producers_.entries()) {
    task.producers[producer.producer_id] = {producer.last_offset, producer.epoch};
  }
  co_return Cleaner(std::move(task));
}

/// One pass: learns the last offset of the keys that came since the last pass, and makes the
/// segments up to there again without what these replace.
io::Task<Result<>> PartitionLogImpl::clean_segments(Dirty dirty, const CompactionContext& context) {
  // Held in place: neither retention nor a reader's end takes them away.
  std::vector<std::unique_ptr<Reading>> readings;
  for (size_t i = 0; i < dirty.segments; ++i) {
    readings.push_back(std::make_unique<Reading>(*segments_[i]));
  }
  MR_CO_TRY(auto cleaner, co_await make_cleaner(dirty));
  Pass pass{context, std::move(cleaner), {}};
  std::vector<Segment*> sources;
  for (const auto& reading : readings) sources.push_back(&reading->segment());
  MR_CO_TRY(const bool noted, co_await note_dirty(pass, sources));
  if (!noted) co_return Result<>();
  const Offset reach = pass.cleaner.reach();
  // A changelog without keys is not written again and again; once there were keys, what they have
  // left may have come of age.
  if (gaps_to_ == 0 && pass.cleaner.is_needless()) co_return save_compacted(reach, 0);
  // From here on offsets may be missing below `reach`; readers must know after a crash too.
  MR_CO_TRY(save_compacted(clean_to_, std::max(gaps_to_, reach)));
  for (size_t first = 0; first < sources.size();) {
    size_t count = 0;
    uint64_t bytes = 0;
    for (; first + count < sources.size(); ++count) {
      const Segment& next = *sources[first + count];
      const Offset end =
          first + count + 1 < sources.size() ? sources[first + count + 1]->base() : dirty.end;
      if (count > 0 && (bytes + next.size() > std::min(config_.segment_bytes, kSegmentBytesMax) ||
                        end - sources[first]->base() > kSegmentOffsetsMax)) {
        break;
      }
      bytes += next.size();
    }
    if (sources[first]->base() >= reach) break;
    const Offset end = first + count < sources.size() ? sources[first + count]->base() : dirty.end;
    const std::span<Segment* const> group(sources.data() + first, count);
    MR_CO_TRY(const bool done, co_await clean_group(pass, group, end));
    if (!done) co_return Result<>();
    // Those who have made way are kept by nobody but their readers.
    for (size_t i = first; i < first + count; ++i) readings[i].reset();
    std::erase_if(retired_, [](const auto& segment) { return segment->readers == 0; });
    first += count;
  }
  co_return save_compacted(reach, gaps_to_);
}

/// Shows the cleaner what is dirty; false when it was stopped.
io::Task<Result<bool>> PartitionLogImpl::note_dirty(Pass& pass, std::span<Segment* const> sources) {
  for (size_t i = 0; i < sources.size(); ++i) {
    Segment& segment = *sources[i];
    if (i + 1 < sources.size() && sources[i + 1]->base() <= clean_to_) continue;
    MR_CO_TRY(auto* file, segment.file());
    BatchChunks chunks(*file, segment.size());
    for (;;) {
      if (closing_ || (pass.context.stop && pass.context.stop())) co_return false;
      MR_CO_TRY(const auto batches, co_await chunks.next());
      if (batches.empty()) break;
      auto note = [&pass, batches] { return pass.cleaner.note(batches); };
      auto noting = off_shard(pass.context.pool, note);
      MR_CO_TRY(const bool more, co_await std::move(noting));
      if (!more) co_return true;
    }
  }
  co_return true;
}

/// Makes one segment of `group`, which ends before `end`, and puts it in their place; false when it
/// was stopped.
io::Task<Result<bool>> PartitionLogImpl::clean_group(Pass& pass, std::span<Segment* const> group,
                                                     Offset end) {
  const Offset base = group.front()->base();
  const auto path = cleaned_name(path_, base);
  auto fresh = std::make_unique<Segment>(env_.files(), path_, base);
  fresh->set_known(0, -1, -1);
  fresh->first_append_ms = group.front()->first_append_ms;
  MR_CO_TRY(auto file, env_.files().open(path, io::FileSystem::Mode::kCreate));
  MR_CO_TRY(co_await file->truncate(0));
  static_cast<void>(pass.cleaner.take_changed());
  uint64_t bytes_before = 0;
  for (Segment* source : group) {
    bytes_before += source->size();
    MR_CO_TRY(const bool done, co_await clean_segment(pass, *source, *file, *fresh));
    if (!done) {
      file.reset();
      MR_CO_TRY(env_.files().remove(path));
      co_return false;
    }
  }
  compaction_bytes_before_.add(static_cast<double>(bytes_before));
  compaction_bytes_after_.add(static_cast<double>(fresh->size()));
  if (group.size() == 1 && !pass.cleaner.take_changed()) {
    file.reset();
    MR_CO_TRY(env_.files().remove(path));
    co_return true;
  }
  MR_CO_TRY(co_await file->sync());
  file.reset();
  std::vector<AbortedIndex::Entry> aborted;
  for (Segment* source : group) {
    MR_CO_TRY(co_await load_aborted(*source));
    for (const auto& entry : source->aborted.entries()) {
      if (!pass.cleaner.is_idle_marker(entry.last_offset)) aborted.push_back(entry);
    }
  }
  fresh->aborted.set(std::move(aborted));
  MR_CO_TRY(co_await begin_swap(group, std::move(fresh), end));
  MR_CO_TRY(co_await finish_swap());
  co_return true;
}

/// Appends what stays of `source` to `file`, and tells `fresh`; false when it was stopped.
io::Task<Result<bool>> PartitionLogImpl::clean_segment(Pass& pass, Segment& source, io::File& file,
                                                       Segment& fresh) {
  MR_CO_TRY(auto* from, source.file());
  BatchChunks chunks(*from, source.size());
  for (bool end = false; !end;) {
    if (closing_ || (pass.context.stop && pass.context.stop())) co_return false;
    MR_CO_TRY(const auto batches, co_await chunks.next());
    end = batches.empty();
    auto clean = [&pass, batches] { return pass.cleaner.clean(batches, pass.out); };
    auto cleaning = off_shard(pass.context.pool, clean);
    MR_CO_TRY(co_await std::move(cleaning));
    if (pass.out.empty() || (!end && pass.out.size() < kWriteBytes)) continue;
    MR_CO_TRY(co_await file.write(fresh.size(), pass.out));
    std::string_view written = pass.out;
    while (const auto header = parse_batch_header(written)) {
      fresh.note(*header, config_.index_interval_bytes);
      written.remove_prefix(header->total_bytes());
    }
    pass.out.clear();
  }
  co_return true;
}

/// Makes the new segment, whose bytes are on disk, the one that counts.
io::Task<Result<>> PartitionLogImpl::begin_swap(std::span<Segment* const> group,
                                                std::unique_ptr<Segment> fresh, Offset end) {
  // Their files may go before their last reader: all that it needs must be at hand.
  for (Segment* source : group) {
    MR_CO_TRY(source->file());
    MR_CO_TRY(co_await source->load_index());
  }
  auto& files = env_.files();
  const Offset base = fresh->base();
  auto aborted = swap_name(path_, base, end, ".txnswap");
  const bool none = fresh->aborted.entries().empty();
  if (none) {
    MR_CO_TRY(files.replace_file(aborted, ""));
  } else {
    MR_CO_TRY(co_await fresh->aborted.save(files, std::move(aborted)));
  }
  // The clean file speaks of the old segments: it must be gone for good before the new one counts.
  clean_on_disk_ = false;
  if (files.exists(path_ + "/clean")) MR_CO_TRY(files.remove(path_ + "/clean"));
  MR_CO_TRY(files.sync_folder(path_));
  MR_CO_TRY(files.rename(cleaned_name(path_, base), swap_name(path_, base, end, ".swap")));
  Swap swap;
  swap.fresh = std::move(fresh);
  for (Segment* source : group) swap.sources.push_back(std::make_unique<Reading>(*source));
  swap.count = group.size();
  swap.end = end;
  swap_.emplace(std::move(swap));
  co_return files.sync_folder(path_);
}

/// Ends what begin_swap() began; after a failure it is called again before anything else.
io::Task<Result<>> PartitionLogImpl::finish_swap() {
  const Offset base = swap_->fresh->base();
  MR_CO_TRY(finish_swap_files(env_.files(), path_, base, swap_->end));
  Segment& fresh = *swap_->fresh;
  const auto first = std::ranges::find(segments_, base, [](const auto& s) { return s->base(); });
  MR_CHECK(first != segments_.end());
  const auto last = first + static_cast<std::ptrdiff_t>(swap_->count);
  for (auto at = first; at != last; ++at) {
    (*at)->retired = true;
    retired_.push_back(std::move(*at));
  }
  *first = std::move(swap_->fresh);
  segments_.erase(first + 1, last);
  for (auto& cursor : cursors_) {
    if (cursor.segment >= base && cursor.segment < swap_->end) cursor = {};
  }
  swap_.reset();
  const Reading reading(fresh);
  auto saved = co_await fresh.save_index();
  if (!saved) logging::warn("an index is not kept", {{"reason", saved.error().text}});
  co_return Result<>();
}

Result<> PartitionLogImpl::save_compacted(Offset clean_to, Offset gaps_to) {
  if (clean_to == clean_to_ && gaps_to == gaps_to_) return {};
  MR_TRY(
      env_.files().replace_file(path_ + "/compacted", fmt::format("{} {}\n", clean_to, gaps_to)));
  clean_to_ = clean_to;
  gaps_to_ = gaps_to;
  return {};
}

Result<> PartitionLogImpl::load_compacted() {
  const auto path = path_ + "/compacted";
  if (!env_.files().exists(path)) return {};
  MR_TRY(const auto text, env_.files().read_file(path));
  const char* const end = text.data() + text.size();
  const auto clean = std::from_chars(text.data(), end, clean_to_);
  const bool good = clean.ec == std::errc() && clean.ptr != end && *clean.ptr == ' ';
  const auto gaps = good ? std::from_chars(clean.ptr + 1, end, gaps_to_) : clean;
  if (!good || gaps.ec != std::errc() || clean_to_ < 0 || gaps_to_ < 0) {
    return Error{ErrorCode::kCorruptRecord,
                 path +
                     " is damaged; it holds two numbers: up to where the log is compacted, and "
                     "up to where offsets may be missing"};
  }
  // A crash of the machine may have taken what they speak of.
  const Offset sealed = segments_.empty() ? 0 : segments_.back()->base();
  clean_to_ = std::min(clean_to_, sealed);
  gaps_to_ = std::min(gaps_to_, sealed);
  return {};
}

}  // namespace millrace::log::detail

#include <algorithm>

#include "base/logging.h"
#include "log/detail/markers.h"
#include "log/detail/partition_log_impl.h"

namespace millrace::log::detail {

io::Task<Result<AppendResult>> PartitionLogImpl::append_marker(TransactionMarker marker) {
  if (closing_) co_return Error{ErrorCode::kShuttingDown, path_ + " is closing"};
  Pending pending;
  pending.marker = marker;
  pending.batches = marker_batch(marker, env_.now_ms());
  pending.headers.push_back(*parse_batch_header(pending.batches));
  co_return co_await queued(pending);
}

/// Before a marker is visible, nothing of its transaction is: its commit may yet be undone.
Offset PartitionLogImpl::last_stable_offset() const {
  Offset stable = std::min(high_watermark_, producers_.first_open());
  for (const auto& ended : ended_) stable = std::min(stable, ended.first_offset);
  return std::max(stable, start_offset_);
}

/// Ends a transaction with `marker`, which stands at `offset`.
Result<> PartitionLogImpl::end_transaction(const TransactionMarker& marker, Offset offset,
                                           Producers::Undo& undo) {
  MR_TRY(producers_.check(marker));
  const Offset first = producers_.apply(marker, env_.now_ms(), &undo);
  if (first < 0) return {};
  ended_.push_back({first, offset});
  if (!marker.commit) {
    const Offset stable = std::min(producers_.first_open(), offset + 1);
    active().aborted.note({marker.producer_id, first, offset, stable});
  }
  return {};
}

/// Takes a batch that stands in the log into account, as its append did.
void PartitionLogImpl::replay(const BatchHeader& header, std::string_view batch, TimestampMs now,
                              Producers& producers, AbortedIndex* aborted) {
  if (header.producer_id < 0) return;
  if (!header.control()) {
    producers.apply(header, now, nullptr);
    return;
  }
  const auto marker = parse_marker(header, batch);
  if (!marker) return;
  const Offset first = producers.apply(*marker, now, nullptr);
  if (first < 0 || marker->commit || !aborted) return;
  const Offset stable = std::min(producers.first_open(), header.base_offset + 1);
  aborted->note({marker->producer_id, first, header.base_offset, stable});
}

/// The producers as they were when the segment of `base` began: from the newest snapshot that can
/// be read, and the segments after it.
io::Task<Result<Producers>> PartitionLogImpl::producers_at(Offset base) {
  const TimestampMs now = env_.now_ms();
  std::vector<Offset> bases;  // of the segments up to `base`
  for (const auto& segment : segments_) {
    if (segment->base() <= base) bases.push_back(segment->base());
  }
  Producers producers;
  size_t from = bases.size() - 1;
  for (;; --from) {
    const bool known = co_await read_producers(bases[from], producers);
    if (known || from == 0) break;
  }
  for (; from + 1 < bases.size(); ++from) {
    Segment sealed(env_.files(), path_, bases[from]);
    Segment::EachBatch each = [&](const BatchHeader& header, std::string_view batch) {
      replay(header, batch, now, producers, nullptr);
    };
    MR_CO_TRY(co_await sealed.scan_batches(false, config_.index_interval_bytes, std::move(each),
                                           {UINT64_MAX, -1}));
  }
  co_return std::move(producers);
}

/// Makes the entries of `segment` stand in memory: from its file, or from the segment when that is
/// damaged.
io::Task<Result<>> PartitionLogImpl::load_aborted(Segment& segment) {
  if (segment.aborted.loaded()) co_return Result<>();
  auto path = file_name(path_, segment.base(), kAbortedSuffix);
  auto loaded = co_await segment.aborted.load(env_.files(), std::move(path));
  if (loaded || loaded.error().code != ErrorCode::kCorruptRecord) co_return loaded;
  logging::warn("an index of aborted transactions is made anew",
                {{"segment", segment.path()}, {"reason", loaded.error().text}});
  MR_CO_TRY(auto producers, co_await producers_at(segment.base()));
  AbortedIndex fresh;
  const TimestampMs now = env_.now_ms();
  Segment scanned(env_.files(), path_, segment.base());
  Segment::EachBatch each = [&](const BatchHeader& header, std::string_view batch) {
    replay(header, batch, now, producers, &fresh);
  };
  MR_CO_TRY(co_await scanned.scan_batches(false, config_.index_interval_bytes, std::move(each)));
  segment.aborted.set(fresh.entries());
  co_return Result<>();
}

/// The aborted transactions that touch offsets from `from` on, before `upper`.
io::Task<Result<std::vector<AbortedTransaction>>> PartitionLogImpl::find_aborted(Offset from,
                                                                                 Offset upper) {
  std::vector<AbortedTransaction> found;
  Offset at = from;
  for (bool done = false; !done;) {
    // Looked up anew each time: a load lets others change the segments.
    Segment& segment = segment_of(at);
    {
      const Reading reading(segment);
      MR_CO_TRY(co_await load_aborted(segment));
      for (const auto& entry : segment.aborted.entries()) {
        if (entry.last_offset >= from && entry.first_offset < upper) {
          found.push_back({entry.producer_id, entry.first_offset});
        }
        if (entry.stable_offset >= upper) done = true;
        if (done) break;
      }
    }
    const auto after = std::ranges::upper_bound(segments_, segment.base(), {},
                                                [](const auto& s) { return s->base(); });
    if (after == segments_.end()) break;
    at = (*after)->base();
    if (!segment.is_open() && segment.readers == 0) segment.aborted.unload();
  }
  co_return std::move(found);
}

/// Takes off what a reader of committed records may not see, and names what was aborted.
io::Task<Result<>> PartitionLogImpl::keep_committed(Offset from, Offset upper, ReadResult& out) {
  if (out.next_offset > upper) {
    size_t kept = 0;
    out.next_offset = from;
    while (kept < out.batches.size()) {
      const auto header = parse_batch_header(std::string_view(out.batches).substr(kept));
      if (!header || header->base_offset >= upper) break;
      kept += header->total_bytes();
      out.next_offset = header->last_offset() + 1;
    }
    out.batches.resize(kept);
  }
  MR_CO_TRY(out.aborted, co_await find_aborted(from, out.next_offset));
  co_return Result<>();
}

}  // namespace millrace::log::detail

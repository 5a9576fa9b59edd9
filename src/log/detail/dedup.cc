#include "log/detail/dedup.h"

#include <xxhash.h>

#include <algorithm>

#include "log/detail/rebatch.h"

namespace millrace::log::detail {

std::optional<DedupWindow::Id> DedupWindow::id_of(const RecordSlice& record) const {
  const auto bytes =
      config_.header.empty() ? record.key : RecordWalk::find_header(record, config_.header);
  if (!bytes) return std::nullopt;
  const auto hash = XXH3_128bits_withSeed(bytes->data(), bytes->size(), seed_);
  return Id{hash.low64, hash.high64};
}

void DedupWindow::expire(TimestampMs now) {
  while (!order_.empty() &&
         (order_.size() > config_.count || times_.front() < now - config_.age_ms)) {
    const auto& [id, serial] = order_.front();
    const auto found = seen_.find(id);
    if (found != seen_.end() && found->second.serial == serial) seen_.erase(found);
    order_.pop_front();
    times_.pop_front();
  }
}

void DedupWindow::add(const Id& id, TimestampMs now, bool pending) {
  seen_[id] = {now, next_serial_, pending};
  order_.emplace_back(id, next_serial_++);
  times_.push_back(now);
}

Result<bool> DedupWindow::filter(std::string& batches, TimestampMs now, size_t inflated_max,
                                 Ids& added) {
  expire(now);
  std::string out;
  bool changed = false;
  std::string_view left = batches;
  std::unordered_set<Id, Hash> fresh;  // of this call
  while (const auto header = parse_batch_header(left)) {
    if (header->total_bytes() > left.size()) break;
    const auto batch = left.substr(0, header->total_bytes());
    left.remove_prefix(batch.size());
    if (header->control() || header->transactional()) {
      out += batch;
      continue;
    }
    MR_TRY(auto walk, RecordWalk::open(batch, inflated_max));
    BatchRewriter rewriter(batch);
    RecordSlice record;
    for (;;) {
      MR_TRY(const bool more, walk.next(record));
      if (!more) break;
      const auto id = id_of(record);
      const auto found = id ? seen_.find(*id) : seen_.end();
      if (found != seen_.end() && found->second.pending) return false;
      if (found != seen_.end() || (id && !fresh.insert(*id).second)) continue;
      if (id) added.push_back(*id);
      rewriter.keep(record);
    }
    if (rewriter.kept() == header->record_count) {
      out += batch;
    } else {
      changed = true;
      out += rewriter.finish(header->compression());
    }
  }
  for (const auto& id : added) add(id, now, true);
  expire(now);
  if (changed) batches = std::move(out);
  return true;
}

void DedupWindow::settle(const Ids& added, bool appended) {
  for (const auto& id : added) {
    const auto found = seen_.find(id);
    if (found == seen_.end() || !found->second.pending) continue;
    if (appended) {
      found->second.pending = false;
    } else {
      seen_.erase(found);
    }
  }
}

Result<> DedupWindow::collect(std::string_view batches, std::vector<Old>& out) const {
  while (const auto header = parse_batch_header(batches)) {
    if (header->total_bytes() > batches.size()) break;
    const auto batch = batches.substr(0, header->total_bytes());
    batches.remove_prefix(batch.size());
    if (header->control() || header->transactional()) continue;
    MR_TRY(auto walk, RecordWalk::open(batch));
    RecordSlice record;
    for (;;) {
      MR_TRY(const bool more, walk.next(record));
      if (!more) break;
      if (const auto id = id_of(record)) out.push_back({*id, header->max_timestamp});
    }
  }
  return {};
}

void DedupWindow::recall(const std::vector<Old>& old, TimestampMs now) {
  // Times of producers may be anything: the window's are in order, and not to come.
  TimestampMs last = times_.empty() ? INT64_MIN : times_.back();
  for (const auto& each : old) {
    last = std::max(last, std::min(each.time, now));
    add(each.id, last, false);
  }
  expire(now);
}

}  // namespace millrace::log::detail

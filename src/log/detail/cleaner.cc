#include "log/detail/cleaner.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/crc32c.h"
#include "log/detail/rebatch.h"

namespace millrace::log::detail {

namespace {
constexpr size_t kCrcAt = 17;
constexpr size_t kCrcFrom = 21;

/// Takes a batch off the front of `batches`, which hold whole ones. What is damaged stays as it is,
/// for the reader who will be told: nothing is made of it.
Result<BatchHeader> take_batch(std::string_view& batches, std::string_view& batch) {
  const auto header = parse_batch_header(batches);
  if (!header || header->total_bytes() > batches.size()) {
    return Error{ErrorCode::kCorruptRecord, "a record batch is cut short, or is none"};
  }
  batch = batches.substr(0, header->total_bytes());
  batches.remove_prefix(batch.size());
  if (load_be<uint32_t>(batch.data() + kCrcAt) != crc32c(batch.substr(kCrcFrom))) {
    return Error{ErrorCode::kCorruptRecord,
                 fmt::format("the record batch at offset {} is damaged", header->base_offset)};
  }
  return *header;
}
}  // namespace

Cleaner::Cleaner(Task task)
    : task_(std::move(task)), keys_(task_.seed, task_.keys_max), reach_(task_.first_dirty) {
  for (const auto& aborted : task_.aborted) aborted_[aborted.producer_id].push_back(aborted);
  for (auto& [producer, list] : aborted_) std::ranges::sort(list, {}, &Aborted::first);
}

bool Cleaner::is_aborted(const BatchHeader& header) const {
  if (!header.transactional() || header.control()) return false;
  const auto found = aborted_.find(header.producer_id);
  if (found == aborted_.end()) return false;
  const auto after =
      std::ranges::upper_bound(found->second, header.base_offset, {}, &Aborted::first);
  return after != found->second.begin() && header.base_offset <= std::prev(after)->last;
}

Result<bool> Cleaner::note(std::string_view batches) {
  while (!batches.empty()) {
    std::string_view batch;
    MR_TRY(const auto header, take_batch(batches, batch));
    if (header.last_offset() < task_.first_dirty) continue;
    if (header.base_offset >= task_.end) return true;
    // What was aborted replaces nothing.
    if (!header.control() && header.record_count > 0 && !is_aborted(header)) {
      if (!keys_.has_room(static_cast<size_t>(header.record_count))) return false;
      MR_TRY(note_batch(batch));
    }
    ends_something_ |= header.control();
    reach_ = header.last_offset() + 1;
  }
  return true;
}

Result<> Cleaner::note_batch(std::string_view batch) {
  auto walk = RecordWalk::open(batch);
  // Too large to look into: it stays as it is.
  if (!walk && walk.error().code == ErrorCode::kRecordTooLarge) return {};
  if (!walk) return std::move(walk).error();
  RecordSlice record;
  for (;;) {
    MR_TRY(const bool more, walk->next(record));
    if (!more) return {};
    if (record.key) keys_.put(*record.key, walk->header().base_offset + record.offset_delta);
  }
}

Result<> Cleaner::clean(std::string_view batches, std::string& out) {
  while (!batches.empty()) {
    std::string_view batch;
    MR_TRY(const auto header, take_batch(batches, batch));
    if (header.base_offset >= reach_) {
      out += batch;
      continue;
    }
    MR_TRY(clean_batch(header, batch, out));
  }
  return {};
}

bool Cleaner::is_last_of_producer(const BatchHeader& header) const {
  if (header.producer_id < 0) return false;
  const auto found = task_.producers.find(header.producer_id);
  if (found == task_.producers.end()) return false;
  const auto& last = found->second;
  if (last.data_offset >= 0) return header.last_offset() == last.data_offset;
  return header.control() && header.producer_epoch == last.epoch;
}

/// Without records the head alone stays of a producer's last batch, for its sequence, and of the
/// last of all, so that a reader finds the way to what comes after.
void Cleaner::keep_head(const BatchHeader& header, std::string_view batch, std::string& out) {
  const bool stays = is_last_of_producer(header) || header.last_offset() + 1 == task_.end;
  if (!stays) {
    changed_ = true;
    return;
  }
  if (header.record_count == 0) {
    out += batch;
    return;
  }
  changed_ = true;
  out += BatchRewriter(batch).finish(Compression::kNone);
}

Result<> Cleaner::clean_batch(const BatchHeader& header, std::string_view batch, std::string& out) {
  if (header.control()) {
    // A marker without records in front says nothing any more. It stays some time, for readers
    // that are between the two.
    const bool idle = seen_.erase(header.producer_id) == 0;
    if (idle) idle_markers_.insert(header.base_offset);
    const bool may_go = idle && header.has_delete_horizon() && header.base_timestamp <= task_.now;
    if (may_go || header.record_count == 0) {
      keep_head(header, batch, out);
      return {};
    }
    return clean_records(header, batch, idle && !header.has_delete_horizon(), out);
  }
  if (header.transactional()) seen_.insert(header.producer_id);
  if (header.record_count == 0 || is_aborted(header)) {
    keep_head(header, batch, out);
    return {};
  }
  return clean_records(header, batch, false, out);
}

bool Cleaner::stays(Offset offset, std::optional<std::string_view> key, bool has_value,
                    bool deletes_stay) const {
  if (!key) return true;
  const auto last = keys_.find(*key);
  if (last && offset < *last) return false;
  return has_value || deletes_stay;
}

Result<> Cleaner::clean_records(const BatchHeader& header, std::string_view batch, bool set_horizon,
                                std::string& out) {
  auto walk = RecordWalk::open(batch);
  if (!walk && walk.error().code == ErrorCode::kRecordTooLarge) {
    out += batch;
    return {};
  }
  if (!walk) return std::move(walk).error();
  const bool deletes_stay = !header.has_delete_horizon() || task_.now < header.base_timestamp;
  std::vector<RecordSlice> kept;
  bool tombstones = false;
  RecordSlice record;
  for (;;) {
    MR_TRY(const bool more, walk->next(record));
    if (!more) break;
    const Offset offset = header.base_offset + record.offset_delta;
    if (!header.control() && !stays(offset, record.key, record.value.has_value(), deletes_stay))
      continue;
    tombstones |= !header.control() && record.key && !record.value;
    kept.push_back(record);
  }
  if (kept.empty()) {
    keep_head(header, batch, out);
    return {};
  }
  set_horizon |= tombstones && !header.has_delete_horizon();
  if (kept.size() == static_cast<size_t>(header.record_count) && !set_horizon) {
    out += batch;
    return {};
  }
  changed_ = true;
  std::optional<TimestampMs> horizon;
  if (set_horizon) {
    horizon = task_.delete_retention_ms > INT64_MAX - task_.now
                  ? INT64_MAX
                  : task_.now + task_.delete_retention_ms;
  }
  BatchRewriter rewriter(batch, horizon);
  for (const auto& each : kept) rewriter.keep(each);
  out += rewriter.finish(header.compression());
  return {};
}

}  // namespace millrace::log::detail

#include <fmt/format.h>

#include <algorithm>

#include "base/crc32c.h"
#include "log/detail/partition_log_impl.h"
#include "log/detail/wire.h"

namespace millrace::log::detail {

namespace {
constexpr size_t kCrcAt = 17;
constexpr size_t kCrcFrom = 21;
/// Sealed segments whose file and index stay at hand after a read.
constexpr size_t kLoadedSealed = 2;

/// The whole batches at the front of `bytes` from the one that holds `from` on: at least one when
/// there is one, else up to `bytes_max`. No record is at or past `end`.
struct Picked {
  size_t skip = 0;    // bytes before them
  size_t bytes = 0;   // of them
  size_t wanted = 0;  // bytes needed from the front for the next whole batch; 0: the limit is met
  Offset next = 0;
};
Result<Picked> pick(std::string_view bytes, Offset from, size_t bytes_max, Offset end) {
  Picked picked;
  picked.next = from;
  for (size_t at = 0;;) {
    const auto rest = bytes.substr(at);
    if (rest.size() < BatchHeader::kBytes) {
      picked.wanted = at + BatchHeader::kBytes;
      return picked;
    }
    const auto header = parse_batch_header(rest);
    // No CRC covers the offset.
    const bool good = header && header->last_offset() < end;
    if (!good && picked.bytes > 0) return picked;  // who reads on will hear of it
    if (!good) return Error{ErrorCode::kCorruptRecord, fmt::format("{}", at)};
    const size_t total = header->total_bytes();
    const bool before = header->last_offset() < from;
    if (!before && picked.bytes > 0 && picked.bytes + total > bytes_max) return picked;
    if (rest.size() < total) {
      picked.wanted = at + total;
      return picked;
    }
    at += total;
    if (before) {
      picked.skip = at;
      continue;
    }
    if (load_be<uint32_t>(rest.data() + kCrcAt) !=
        crc32c(rest.substr(kCrcFrom, total - kCrcFrom))) {
      if (picked.bytes > 0) return picked;
      return Error{ErrorCode::kCorruptRecord, fmt::format("{}", at - total)};
    }
    picked.bytes += total;
    picked.next = header->last_offset() + 1;
    if (picked.bytes >= bytes_max) return picked;
  }
}
}  // namespace

Segment& PartitionLogImpl::segment_of(Offset offset) {
  const auto base = [](const auto& segment) { return segment->base(); };
  const auto after = std::ranges::upper_bound(segments_, offset, {}, base);
  return after == segments_.begin() ? *segments_.front() : **std::prev(after);
}

/// One past the last record that `segment` may hold.
Offset PartitionLogImpl::end_of(const Segment& segment) const {
  const auto after = std::ranges::upper_bound(segments_, segment.base(), {},
                                              [](const auto& each) { return each->base(); });
  return after == segments_.end() ? end_offset_ : (*after)->base();
}

uint64_t PartitionLogImpl::visible(const Segment& segment) const {
  return &segment == segments_.back().get() ? visible_position_ : segment.size();
}

io::Task<Result<ReadResult>> PartitionLogImpl::read(Offset from, size_t bytes_max,
                                                    Isolation isolation) {
  if (from < start_offset_ || from > end_offset_) {
    co_return Error{ErrorCode::kOffsetOutOfRange,
                    fmt::format("offset {} is outside of {}: it holds {} to {}", from, path_,
                                start_offset_, end_offset_)};
  }
  ReadResult out;
  out.next_offset = from;
  const Offset upper = readable(isolation);
  if (from < upper) {
    Offset at = from;  // where to look: compaction leaves gaps, also at the end of a segment
    for (bool found = false; !found;) {
      Segment& segment = segment_of(at);
      const Reading reading(segment);
      MR_CO_TRY(found, co_await read_segment(segment, at, bytes_max, out));
      if (found) break;
      const auto after = std::ranges::upper_bound(segments_, segment.base(), {},
                                                  [](const auto& s) { return s->base(); });
      if (from >= gaps_to_ || after == segments_.end()) {
        co_return Error{
            ErrorCode::kCorruptRecord,
            fmt::format("{} should hold offset {}, and ends before", segment.path(), from)};
      }
      at = (*after)->base();
    }
  }
  if (isolation == Isolation::kCommitted && !out.batches.empty()) {
    MR_CO_TRY(co_await keep_committed(from, upper, out));
  }
  out.high_watermark = high_watermark_;
  out.last_stable_offset = last_stable_offset();
  out.start_offset = start_offset_;
  co_return std::move(out);
}

io::Task<Result<bool>> PartitionLogImpl::read_segment(Segment& segment, Offset from,
                                                      size_t bytes_max, ReadResult& out) {
  const uint64_t limit = visible(segment);
  MR_CO_TRY(co_await segment.load_index());
  MR_CO_TRY(auto* file, segment.file());
  unload_others(segment);
  const auto cursor = std::ranges::find_if(cursors_, [&](const Cursor& c) {
    return c.offset == from && c.segment == segment.base() && c.position < limit;
  });
  const bool exact = cursor != cursors_.end();
  const Offset end = end_of(segment);
  const uint64_t position = exact ? cursor->position : segment.position_of(from);
  size_t wanted = bytes_max + (exact ? 0 : config_.index_interval_bytes);
  std::string bytes;
  Picked picked;
  do {
    wanted = std::min<uint64_t>(std::max(wanted, BatchHeader::kBytes), limit - position);
    if (wanted <= bytes.size()) break;
    const size_t missing = wanted - bytes.size();
    MR_CO_TRY(const size_t got, co_await file->read(position + bytes.size(), missing, &bytes));
    auto tried = pick(bytes, from, bytes_max, end);
    if (!tried) {
      report_corrupt(segment, position);
      co_return Error{ErrorCode::kCorruptRecord,
                      fmt::format("{} is damaged at or after byte {}, offset {}", segment.path(),
                                  position, from)};
    }
    picked = *tried;
    wanted = picked.wanted;
    if (got < missing) break;
  } while (picked.bytes == 0 && picked.wanted > 0);
  if (picked.bytes == 0) co_return false;
  segment.set_checked(position + picked.skip, position + picked.skip + picked.bytes);
  bytes.resize(picked.skip + picked.bytes);
  bytes.erase(0, picked.skip);
  out.batches = std::move(bytes);
  out.next_offset = picked.next;
  if (segment.retired) co_return true;
  Cursor& keep = exact ? *cursor : cursors_[next_cursor_++ % cursors_.size()];
  keep = {picked.next, segment.base(), position + picked.skip + picked.bytes};
  co_return true;
}

/// Keeps the files and indexes of a few sealed segments only.
void PartitionLogImpl::unload_others(const Segment& keep) {
  size_t loaded = 0;
  for (const auto& segment : segments_) {
    if (segment.get() == &active() || segment.get() == &keep || !segment->is_open()) continue;
    if (++loaded >= kLoadedSealed && segment->readers == 0) segment->unload();
  }
}

}  // namespace millrace::log::detail

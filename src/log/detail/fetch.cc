#include <sys/uio.h>

#include <algorithm>
#include <array>

#include "log/detail/partition_log_impl.h"

namespace millrace::log::detail {

namespace {
/// Fewer bytes are cheaper to copy than to name: a range costs two more calls of the system.
constexpr size_t kRangeBytesMin = 16 * 1024;
/// What is read into memory for one answer, beside the first batch: it is not known to be good yet,
/// or comes from the disk, and the next time it can be named.
constexpr size_t kReadBytesMax = 1u << 20;
/// Batches between two entries of an index that a fetch looks at: a call of the system each.
constexpr size_t kHeadsMax = 64;
}  // namespace

/// Whole batches of one segment.
struct PartitionLogImpl::Span {
  uint64_t from = 0;
  uint64_t to = 0;
  Offset next = 0;  // where to read on
};

PartitionLogImpl::Cursor* PartitionLogImpl::cursor_at(const Segment& segment, Offset from) {
  const auto cursor = std::ranges::find_if(cursors_, [&](const Cursor& c) {
    return c.offset == from && c.segment == segment.base() && c.position < visible(segment);
  });
  return cursor == cursors_.end() ? nullptr : &*cursor;
}

/// Where the batch that holds `from` begins: one of those behind the index's entry. Nothing when
/// they are not in the system's memory, not known to be good, or too many to look at here.
std::optional<uint64_t> PartitionLogImpl::batch_with(const Segment& segment, Offset from,
                                                     const io::SharedFile& file) const {
  const auto place = segment.place_before(from);
  if (place.offset == from) return place.position;
  uint64_t at = place.position;
  if (visible(segment) < at + kRangeBytesMin) return std::nullopt;  // it will be read in any case
  for (size_t i = 0; i < kHeadsMax && at < visible(segment); ++i) {
    std::array<char, BatchHeader::kBytes> bytes;
    iovec into{bytes.data(), bytes.size()};
    const auto got = ::preadv2(file.descriptor(), &into, 1, static_cast<off_t>(at), RWF_NOWAIT);
    if (got != static_cast<ssize_t>(bytes.size())) return std::nullopt;
    const auto head = parse_batch_header({bytes.data(), bytes.size()});
    if (!head || !segment.is_checked(place.position, at + head->total_bytes())) return std::nullopt;
    if (head->last_offset() >= from) return at;
    at += head->total_bytes();
  }
  return std::nullopt;
}

/// What can be given from `from` on, told from the index and the heads of a few batches; nothing
/// when those do not say enough.
std::optional<PartitionLogImpl::Span> PartitionLogImpl::span_of(const Segment& segment, Offset from,
                                                                size_t bytes_max, Offset upper,
                                                                const io::SharedFile& file) {
  Span span;
  if (const auto* cursor = cursor_at(segment, from)) {
    span.from = cursor->position;
  } else {
    const auto begin = batch_with(segment, from, file);
    if (!begin) return std::nullopt;
    span.from = *begin;
  }
  const auto after = std::ranges::upper_bound(segments_, segment.base(), {},
                                              [](const auto& s) { return s->base(); });
  span.to = visible(segment);
  span.next = after == segments_.end() ? high_watermark_ : (*after)->base();
  const auto end_at = [&](Segment::Place place) {
    span.to = place.position;
    span.next = place.offset;
  };
  if (upper < span.next) end_at(segment.place_before(upper));
  if (span.to > span.from && span.to - span.from > bytes_max) {
    end_at(segment.place_before_position(span.from + bytes_max));
  }
  if (span.to <= span.from || span.next <= from) return std::nullopt;
  return span;
}

io::Task<Result<ReadResult>> PartitionLogImpl::fetch(Offset from, size_t bytes_max,
                                                     Isolation isolation) {
  const Offset upper = readable(isolation);
  if (from < start_offset_ || from >= upper) co_return co_await read(from, bytes_max, isolation);
  Segment& segment = segment_of(from);
  const bool at_hand = segment.is_open() && segment.has_index() && segment.damaged().empty();
  ReadResult out;
  std::optional<Span> span;
  if (at_hand) {
    MR_CO_TRY(const auto* file, segment.file());
    out.file.file = file->share();
    if (out.file.file) span = span_of(segment, from, bytes_max, upper, *out.file.file);
  }
  if (!span || span->to - span->from < kRangeBytesMin) {
    co_return co_await read(from, std::min(bytes_max, kReadBytesMax), isolation);
  }
  out.file.position = span->from;
  out.file.length = span->to - span->from;
  if (!segment.is_checked(span->from, span->to) ||
      !out.file.file->in_memory(out.file.position, out.file.length)) {
    co_return co_await read(from, std::min(bytes_max, kReadBytesMax), isolation);
  }
  out.next_offset = span->next;
  if (!segment.retired) {
    auto* cursor = cursor_at(segment, from);
    if (!cursor) cursor = &cursors_[next_cursor_++ % cursors_.size()];
    *cursor = {span->next, segment.base(), span->to};
  }
  if (isolation == Isolation::kCommitted) {
    MR_CO_TRY(out.aborted, co_await find_aborted(from, span->next));
  }
  out.high_watermark = high_watermark_;
  out.last_stable_offset = last_stable_offset();
  out.start_offset = start_offset_;
  co_return std::move(out);
}

}  // namespace millrace::log::detail

#include <algorithm>

#include "log/detail/partition_log_impl.h"

namespace millrace::log::detail {

namespace {
/// Fewer bytes are cheaper to copy than to name: a range costs two more calls of the system.
constexpr size_t kRangeBytesMin = 16 * 1024;
/// What is read into memory for one answer, beside the first batch: it is not known to be good yet,
/// or comes from the disk, and the next time it can be named.
constexpr size_t kReadBytesMax = 1u << 20;
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

/// What can be given from `from` on, told from the index alone; nothing when that does not say
/// enough.
std::optional<PartitionLogImpl::Span> PartitionLogImpl::span_of(const Segment& segment, Offset from,
                                                                size_t bytes_max, Offset upper) {
  Span span;
  if (const auto* cursor = cursor_at(segment, from)) {
    span.from = cursor->position;
  } else {
    const auto place = segment.place_before(from);
    if (place.offset != from) return std::nullopt;
    span.from = place.position;
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
  const auto span = at_hand ? span_of(segment, from, bytes_max, upper) : std::nullopt;
  if (!span || span->to - span->from < kRangeBytesMin) {
    co_return co_await read(from, std::min(bytes_max, kReadBytesMax), isolation);
  }
  MR_CO_TRY(const auto* file, segment.file());
  ReadResult out;
  out.file = {file->share(), span->from, static_cast<size_t>(span->to - span->from)};
  if (!out.file.file || !segment.is_checked(span->from, span->to) ||
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

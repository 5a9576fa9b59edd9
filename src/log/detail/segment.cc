#include "log/detail/segment.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/crc32c.h"
#include "base/logging.h"
#include "log/detail/wire.h"

namespace millrace::log::detail {

namespace {
constexpr size_t kScanBytes = 1u << 20;
constexpr uint32_t kRebuildInterval = 4096;
constexpr std::string_view kOffsetMagic = "MROFFS01";
constexpr std::string_view kTimeMagic = "MRTIME01";
// A record batch without its first bytes is not covered by its CRC: where the CRC and its bytes
// are.
constexpr size_t kCrcAt = 17;
constexpr size_t kCrcFrom = 21;
constexpr size_t kMagicAt = 16;

bool crc_matches(std::string_view batch) {
  return load_be<uint32_t>(batch.data() + kCrcAt) == crc32c(batch.substr(kCrcFrom));
}
}  // namespace

/// Looks at a file from its begin to its end.
class Segment::Window {
 public:
  explicit Window(io::File& file) : file_(file) {}
  io::File& file() { return file_; }
  /// `length` bytes from `position`, fewer only at the end of the file; until the next call.
  io::Task<Result<std::string_view>> at(uint64_t position, size_t length) {
    if (position < begin_ || position + length > begin_ + bytes_.size()) {
      const uint64_t kept = position - begin_;
      bytes_.erase(0, position >= begin_ && kept <= bytes_.size() ? kept : bytes_.size());
      begin_ = position;
      const size_t missing = std::max(kScanBytes, length) - bytes_.size();
      MR_CO_TRY(co_await file_.read(begin_ + bytes_.size(), missing, &bytes_));
    }
    co_return std::string_view(bytes_).substr(position - begin_, length);
  }

 private:
  io::File& file_;
  std::string bytes_;
  uint64_t begin_ = 0;
};

std::string file_name(const std::string& folder, Offset base, std::string_view suffix) {
  return fmt::format("{}/{:020}{}", folder, base, suffix);
}

io::Task<Result<>> write_checked(io::FileSystem& files, std::string path, std::string bytes) {
  append_be<uint32_t>(bytes, crc32c(bytes));
  MR_CO_TRY(auto file, files.open(path, io::FileSystem::Mode::kCreate));
  MR_CO_TRY(co_await file->truncate(0));
  co_return co_await file->write(0, bytes);
}

io::Task<Result<std::string>> read_checked(io::FileSystem& files, std::string path) {
  MR_CO_TRY(auto file, files.open(path, io::FileSystem::Mode::kRead));
  std::string bytes;
  MR_CO_TRY(co_await file->read(0, file->size(), &bytes));
  const std::string_view all = bytes;
  if (all.size() < 4 ||
      load_be<uint32_t>(all.data() + all.size() - 4) != crc32c(all.substr(0, all.size() - 4))) {
    co_return Error{ErrorCode::kCorruptRecord, path + " is damaged"};
  }
  bytes.resize(bytes.size() - 4);
  co_return std::move(bytes);
}

Segment::Segment(io::FileSystem& files, std::string folder, Offset base)
    : files_(files), folder_(std::move(folder)), base_(base) {}

void Segment::set_known(uint64_t size, TimestampMs max_timestamp, Offset max_timestamp_offset) {
  size_ = size;
  max_timestamp_ = max_timestamp;
  max_timestamp_offset_ = max_timestamp_offset;
  indexed_ = size == 0;
  unchecked_end_ = size;
}

Result<> Segment::create() {
  MR_TRY(file_, files_.open(path(), io::FileSystem::Mode::kCreate));
  return {};
}

Result<io::File*> Segment::file() {
  if (!file_) {
    if (!files_.exists(path())) {
      return Error{ErrorCode::kCorruptRecord, path() + " is missing; restore it from a copy"};
    }
    MR_TRY(create());
  }
  return file_.get();
}

io::Task<Result<>> Segment::load_index() {
  if (indexed_) co_return Result<>();
  auto read = co_await read_index();
  if (indexed_ || read) co_return Result<>();  // another reader may have been faster
  logging::info("an index is made anew", {{"segment", path()}, {"reason", read.error().text}});
  Segment fresh(files_, folder_, base_);
  MR_CO_TRY(co_await fresh.scan_batches(false, kRebuildInterval, nullptr, {size_, -1}));
  if (indexed_) co_return Result<>();
  offsets_ = std::move(fresh.offsets_);
  times_ = std::move(fresh.times_);
  max_timestamp_ = fresh.max_timestamp_;
  max_timestamp_offset_ = fresh.max_timestamp_offset_;
  next_entry_at_ = fresh.next_entry_at_;
  indexed_ = true;
  // Only to be faster the next time.
  auto saved = co_await save_index();
  if (!saved) logging::warn("an index is not kept", {{"reason", saved.error().text}});
  co_return Result<>();
}

io::Task<Result<>> Segment::read_index() {
  MR_CO_TRY(auto offsets, co_await read_checked(files_, file_name(folder_, base_, ".index")));
  MR_CO_TRY(auto times, co_await read_checked(files_, file_name(folder_, base_, ".timeindex")));
  if (indexed_) co_return Result<>();
  Reader from(offsets);
  const Error damaged{ErrorCode::kCorruptRecord, "an index is of another segment"};
  if (from.bytes(8) != kOffsetMagic || from.big_endian<uint64_t>() != size_) co_return damaged;
  std::vector<OffsetEntry> offset_entries;
  while (from.left() > 0) {
    const auto offset = from.big_endian<uint32_t>();
    offset_entries.push_back({offset, from.big_endian<uint32_t>()});
  }
  Reader from_times(times);
  if (from_times.bytes(8) != kTimeMagic || from_times.big_endian<uint64_t>() != size_) {
    co_return damaged;
  }
  const auto max_timestamp = from_times.big_endian<int64_t>();
  const auto max_timestamp_offset = from_times.big_endian<int64_t>();
  std::vector<TimeEntry> time_entries;
  while (from_times.left() > 0) {
    const auto timestamp = from_times.big_endian<int64_t>();
    time_entries.push_back({timestamp, from_times.big_endian<uint32_t>()});
  }
  if (!from.ok() || !from_times.ok()) co_return damaged;
  offsets_ = std::move(offset_entries);
  times_ = std::move(time_entries);
  max_timestamp_ = max_timestamp;
  max_timestamp_offset_ = max_timestamp_offset;
  next_entry_at_ = size_;
  indexed_ = true;
  co_return Result<>();
}

io::Task<Result<>> Segment::save_index() {
  if (!indexed_) co_return Result<>();
  std::string offsets(kOffsetMagic);
  append_be<uint64_t>(offsets, size_);
  for (const auto& entry : offsets_) {
    append_be<uint32_t>(offsets, entry.offset);
    append_be<uint32_t>(offsets, entry.position);
  }
  std::string times(kTimeMagic);
  append_be<uint64_t>(times, size_);
  append_be<int64_t>(times, max_timestamp_);
  append_be<int64_t>(times, max_timestamp_offset_);
  for (const auto& entry : times_) {
    append_be<int64_t>(times, entry.timestamp);
    append_be<uint32_t>(times, entry.offset);
  }
  auto offsets_path = file_name(folder_, base_, ".index");
  MR_CO_TRY(co_await write_checked(files_, std::move(offsets_path), std::move(offsets)));
  auto times_path = file_name(folder_, base_, ".timeindex");
  co_return co_await write_checked(files_, std::move(times_path), std::move(times));
}

void Segment::close_file() {
  MR_CHECK(readers == 0);
  file_.reset();
}

void Segment::unload() {
  MR_CHECK(readers == 0);
  file_.reset();
  indexed_ = size_ == 0;
  offsets_ = {};
  times_ = {};
  next_entry_at_ = 0;
  aborted.unload();
}

Result<> Segment::remove() {
  MR_CHECK(readers == 0);
  file_.reset();
  MR_TRY(files_.remove(path()));
  // What stays beside it is swept at the next open.
  for (const std::string_view suffix :
       {".index", ".timeindex", ".producers", kAbortedSuffix.data()}) {
    const auto beside = file_name(folder_, base_, suffix);
    if (!files_.exists(beside)) continue;
    if (auto gone = files_.remove(beside); !gone) {
      logging::warn("a needless file stays", {{"reason", gone.error().text}});
    }
  }
  return {};
}

void Segment::note(const BatchHeader& header, uint32_t interval) {
  if (size_ >= next_entry_at_) {
    const auto relative = static_cast<uint32_t>(header.base_offset - base_);
    offsets_.push_back({relative, static_cast<uint32_t>(size_)});
    if (times_.empty() || times_.back().timestamp < max_timestamp_) {
      times_.push_back({max_timestamp_, relative});
    }
    next_entry_at_ = size_ + interval;
  }
  if (max_timestamp_offset_ < 0 || header.max_timestamp > max_timestamp_) {
    max_timestamp_ = header.max_timestamp;
    max_timestamp_offset_ = header.base_offset;
  }
  size_ += header.total_bytes();
  indexed_ = true;
}

Segment::Mark Segment::mark() const {
  return {size_,           max_timestamp_, max_timestamp_offset_,
          offsets_.size(), times_.size(),  next_entry_at_};
}

void Segment::cut(const Mark& mark) {
  size_ = mark.size;
  max_timestamp_ = mark.max_timestamp;
  max_timestamp_offset_ = mark.max_timestamp_offset;
  offsets_.resize(mark.offsets);
  times_.resize(mark.times);
  next_entry_at_ = mark.next_entry_at;
}

io::Task<Result<Offset>> Segment::scan(bool check_crc, uint32_t interval, Each each) {
  EachBatch each_batch;
  if (each) {
    each_batch = [each = std::move(each)](const BatchHeader& header, std::string_view) {
      each(header);
    };
  }
  co_return co_await scan_batches(check_crc, interval, std::move(each_batch));
}

/// The batch at `position`, which begins at `next` or later; empty when none that is whole stands
/// there.
io::Task<Result<std::string_view>> Segment::read_batch(Window& window, uint64_t position,
                                                       Offset next, bool check_crc) {
  MR_CO_TRY(const auto head, co_await window.at(position, BatchHeader::kBytes));
  const auto header = parse_batch_header(head);
  if (!header || head[kMagicAt] != 2 || header->base_offset < next ||
      header->last_offset_delta < 0 || header->last_offset() - base_ > UINT32_MAX) {
    co_return std::string_view();
  }
  const size_t total = header->total_bytes();
  if (position + total > window.file().size()) co_return std::string_view();
  MR_CO_TRY(const auto batch, co_await window.at(position, total));
  if (batch.size() < total || (check_crc && !crc_matches(batch))) co_return std::string_view();
  co_return batch;
}

/// Where, from `from` on, the first batch stands that is whole.
io::Task<Result<std::optional<uint64_t>>> Segment::find_batch(Window& window, uint64_t from,
                                                              Offset next) {
  for (uint64_t at = from;;) {
    MR_CO_TRY(const auto chunk, co_await window.at(at, kScanBytes));
    if (chunk.size() < BatchHeader::kBytes) co_return std::optional<uint64_t>();
    const size_t starts = chunk.size() - BatchHeader::kBytes + 1;
    size_t i = 0;
    while (i < starts && (chunk[i + kMagicAt] != 2 || load_be<int64_t>(&chunk[i]) < next ||
                          !parse_batch_header(chunk.substr(i)))) {
      ++i;
    }
    at += i;
    if (i == starts) continue;
    MR_CO_TRY(const auto batch, co_await read_batch(window, at, next, true));
    if (!batch.empty()) co_return std::optional<uint64_t>(at);
    ++at;
  }
}

io::Task<Result<Offset>> Segment::scan_batches(bool check_crc, uint32_t interval, EachBatch each,
                                               Durable durable) {
  size_ = 0;
  max_timestamp_ = max_timestamp_offset_ = -1;
  offsets_.clear();
  times_.clear();
  next_entry_at_ = 0;
  indexed_ = true;
  damaged_.clear();
  Offset next = base_;
  MR_CO_TRY(auto* file, this->file());
  Window window(*file);
  for (;;) {
    MR_CO_TRY(const auto batch, co_await read_batch(window, size_, next, check_crc));
    if (batch.empty()) {
      const uint64_t good = std::min(durable.position, file->size());
      if (size_ >= good) break;
      MR_CO_TRY(const auto found, co_await find_batch(window, size_ + 1, next));
      const uint64_t to = found.value_or(good);
      damaged_.push_back({size_, to});
      if (to >= durable.position) next = std::max(next, durable.next);
      // What follows is found by the index: nobody can walk over what is damaged.
      size_ = next_entry_at_ = to;
      continue;
    }
    const auto header = parse_batch_header(batch);
    next = header->last_offset() + 1;
    note(*header, interval);
    if (each) each(*header, batch);
  }
  co_return next;
}

uint64_t Segment::position_of(Offset offset) const {
  const auto relative = static_cast<uint64_t>(offset - base_);
  const auto after = std::ranges::upper_bound(offsets_, relative, {}, &OffsetEntry::offset);
  return after == offsets_.begin() ? 0 : std::prev(after)->position;
}

Segment::Place Segment::place_before(Offset offset) const {
  const auto relative = static_cast<uint64_t>(offset - base_);
  const auto after = std::ranges::upper_bound(offsets_, relative, {}, &OffsetEntry::offset);
  if (after == offsets_.begin()) return {base_, 0};
  return {base_ + std::prev(after)->offset, std::prev(after)->position};
}

Segment::Place Segment::place_before_position(uint64_t position) const {
  const auto after = std::ranges::upper_bound(offsets_, position, {}, &OffsetEntry::position);
  if (after == offsets_.begin()) return {base_, 0};
  return {base_ + std::prev(after)->offset, std::prev(after)->position};
}

bool Segment::is_checked(uint64_t from, uint64_t to) const {
  if (from >= unchecked_end_) return true;
  const auto after = checked_.upper_bound(from);
  return after != checked_.begin() && std::prev(after)->second >= std::min(to, unchecked_end_);
}

void Segment::set_checked(uint64_t from, uint64_t to) {
  to = std::min(to, unchecked_end_);
  if (from >= to) return;
  // Takes in what it touches.
  auto at = checked_.upper_bound(from);
  if (at != checked_.begin() && std::prev(at)->second >= from) --at;
  while (at != checked_.end() && at->first <= to) {
    from = std::min(from, at->first);
    to = std::max(to, at->second);
    at = checked_.erase(at);
  }
  checked_[from] = to;
}

Offset Segment::offset_before(TimestampMs timestamp) const {
  // Before the entry's offset all timestamps are smaller than the one looked for.
  const auto after = std::ranges::lower_bound(times_, timestamp, {}, &TimeEntry::timestamp);
  return after == times_.begin() ? base_ : base_ + std::prev(after)->offset;
}

}  // namespace millrace::log::detail

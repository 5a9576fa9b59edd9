#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/logging.h"
#include "log/detail/partition_log_impl.h"
#include "log/detail/wire.h"

namespace millrace::log::detail {

namespace {
constexpr std::string_view kCleanMagic = "MRCLEAN2";
constexpr std::string_view kProducersMagic = "MRPROD02";
constexpr std::string_view kSyncedMagic = "MRSYNC01";
constexpr uint64_t kNoteSyncedBytes = 1u << 20;
constexpr size_t kTailReadBytes = 256u << 10;
constexpr int64_t kNoteSyncedMs = 5000;
constexpr uint64_t kSegmentBytesMax = 1u << 30;  // positions are 32 bits
constexpr int64_t kSegmentRecordsMax = INT32_MAX;
constexpr int64_t kProducerExpiryMs = 24LL * 3600 * 1000;  // Kafka's producer.id.expiration.ms

/// The offset that a file of ours is named after; -1 when it is none.
Offset base_of(std::string_view name, std::string_view suffix) {
  Offset base = -1;
  if (name.size() != 20 + suffix.size() || !name.ends_with(suffix)) return -1;
  const auto [end, failed] = std::from_chars(name.data(), name.data() + 20, base);
  return failed == std::errc() && end == name.data() + 20 ? base : -1;
}

std::string name_of(Offset base, std::string_view suffix) {
  return fmt::format("{:020}{}", base, suffix);
}

/// Whether anything but zeros stands from `from` on.
io::Task<Result<bool>> holds_data(io::File& file, uint64_t from) {
  std::string bytes;
  while (from < file.size()) {
    bytes.clear();
    MR_CO_TRY(const auto got, co_await file.read(from, kTailReadBytes, &bytes));
    if (got == 0) break;
    if (bytes.find_first_not_of('\0') != std::string::npos) co_return true;
    from += got;
  }
  co_return false;
}

std::vector<Offset> bases_of(const std::vector<std::string>& names, std::string_view suffix) {
  std::vector<Offset> bases;
  for (const auto& name : names) {
    if (const Offset base = base_of(name, suffix); base >= 0) bases.push_back(base);
  }
  return bases;
}
}  // namespace

bool PartitionLogImpl::must_roll(size_t more_bytes) const {
  const auto& last = *segments_.back();
  if (roll_begun_) return true;
  if (last.size() == 0) return false;
  if (last.size() + more_bytes > std::min(config_.segment_bytes, kSegmentBytesMax)) return true;
  if (end_offset_ - last.base() > kSegmentRecordsMax) return true;
  return env_.now_ms() - last.first_append_ms > config_.segment_ms;
}

/// Seals the active segment and begins the next. What is sealed is durable, so that only the last
/// segment is ever looked through after a crash.
io::Task<Result<>> PartitionLogImpl::roll() {
  while (syncing_) {
    co_await idle_.wait_until(std::chrono::steady_clock::now() + std::chrono::hours(1));
  }
  if (sync_failed_) co_return *sync_failed_;
  MR_CHECK(unsynced_.empty());
  if (ahead_ > 0) MR_CO_TRY(co_await cut_file());
  MR_CO_TRY(auto* file, active().file());
  MR_CO_TRY(co_await file->sync());
  // What no scan of the segment alone can tell is durable before the next begins.
  auto aborted_path = file_name(path_, active().base(), kAbortedSuffix);
  MR_CO_TRY(co_await active().aborted.save(env_.files(), std::move(aborted_path)));
  // The others can be made anew, only slower; a full disk must not stop the roll.
  auto indexed = co_await active().save_index();
  if (!indexed) logging::warn("an index is not kept", {{"reason", indexed.error().text}});
  auto kept = co_await save_producers();
  if (!kept) logging::warn("producers are not kept", {{"reason", kept.error().text}});
  // Once the next file may exist, a recovery takes it for the last: nothing goes into this one.
  roll_begun_ = true;
  MR_CO_TRY(add_segment(end_offset_));
  roll_begun_ = false;
  visible_position_ = 0;
  Segment& sealed = **std::prev(segments_.end(), 2);
  if (sealed.readers == 0) sealed.unload();
  co_return Result<>();
}

Result<> PartitionLogImpl::add_segment(Offset base) {
  auto segment = std::make_unique<Segment>(env_.files(), path_, base);
  MR_TRY(segment->create());
  MR_TRY(env_.files().sync_folder(path_));
  segment->set_known(0, -1, -1);
  segment->first_append_ms = env_.now_ms();
  segments_.push_back(std::move(segment));
  return {};
}

io::Task<Result<>> PartitionLogImpl::save_producers() {
  producers_.expire(env_.now_ms() - kProducerExpiryMs);
  std::string bytes(kProducersMagic);
  append_be<int64_t>(bytes, end_offset_);
  producers_.encode(bytes);
  auto name = file_name(path_, end_offset_, ".producers");
  co_return co_await write_checked(env_.files(), std::move(name), std::move(bytes));
}

/// False when the snapshot of `base` cannot be read; `producers` is then empty.
io::Task<bool> PartitionLogImpl::read_producers(Offset base, Producers& producers) {
  auto name = file_name(path_, base, ".producers");
  auto bytes = co_await read_checked(env_.files(), std::move(name));
  std::string_view rest = bytes ? std::string_view(*bytes) : std::string_view();
  if (rest.starts_with(kProducersMagic) && rest.size() >= 16) {
    rest.remove_prefix(16);
    if (producers.decode(rest)) co_return true;
  }
  producers.clear();
  co_return false;
}

io::Task<Result<>> PartitionLogImpl::save_clean() {
  std::string bytes(kCleanMagic);
  append_be<int64_t>(bytes, end_offset_);
  append_be<uint32_t>(bytes, static_cast<uint32_t>(segments_.size()));
  for (const auto& segment : segments_) {
    append_be<int64_t>(bytes, segment->base());
    append_be<uint64_t>(bytes, segment->size());
    append_be<int64_t>(bytes, segment->max_timestamp());
    append_be<int64_t>(bytes, segment->max_timestamp_offset());
    append_be<int64_t>(bytes, segment->first_append_ms);
  }
  producers_.encode(bytes);
  MR_CO_TRY(co_await write_checked(env_.files(), path_ + "/clean", std::move(bytes)));
  clean_on_disk_ = true;
  co_return Result<>();
}

/// True when the log was closed cleanly: the clean file then says all that a scan would.
io::Task<Result<bool>> PartitionLogImpl::load_clean(const std::vector<std::string>& names) {
  if (!std::ranges::binary_search(names, "clean")) co_return false;
  auto bytes = co_await read_checked(env_.files(), path_ + "/clean");
  if (!bytes) co_return false;
  Reader from(*bytes);
  if (from.bytes(8) != kCleanMagic) co_return false;
  const auto end_offset = from.big_endian<int64_t>();
  const auto count = from.big_endian<uint32_t>();
  const auto bases = bases_of(names, ".log");
  if (count != bases.size() || count == 0) co_return false;
  std::deque<std::unique_ptr<Segment>> segments;
  for (const Offset base : bases) {
    auto segment = std::make_unique<Segment>(env_.files(), path_, base);
    if (from.big_endian<int64_t>() != base) co_return false;
    const auto size = from.big_endian<uint64_t>();
    const auto max_timestamp = from.big_endian<int64_t>();
    segment->set_known(size, max_timestamp, from.big_endian<int64_t>());
    segment->first_append_ms = from.big_endian<int64_t>();
    if (std::ranges::binary_search(names, name_of(base, kAbortedSuffix))) {
      segment->aborted.set_on_disk();
    }
    segments.push_back(std::move(segment));
  }
  std::string_view rest = std::string_view(*bytes).substr(bytes->size() - from.left());
  Producers producers;
  if (!from.ok() || !producers.decode(rest)) co_return false;
  // Appends after the clean file have made the last segment longer, if they have left anything.
  MR_CO_TRY(auto last, env_.files().open(segments.back()->path(), io::FileSystem::Mode::kRead));
  if (last->size() != segments.back()->size()) co_return false;
  segments_ = std::move(segments);
  producers_ = std::move(producers);
  end_offset_ = end_offset;
  co_return true;
}

io::Task<Result<>> PartitionLogImpl::load() {
  auto& files = env_.files();
  if (!files.exists(path_)) MR_CO_TRY(files.make_folder(path_));
  MR_CO_TRY(recover_swaps(files, path_));
  MR_CO_TRY(const auto names, files.list(path_));
  MR_CO_TRY(clean_on_disk_, co_await load_clean(names));
  if (!clean_on_disk_) {
    for (const Offset base : bases_of(names, ".log")) {
      segments_.push_back(std::make_unique<Segment>(files, path_, base));
      if (!std::ranges::binary_search(names, name_of(base, kAbortedSuffix))) continue;
      segments_.back()->aborted.set_on_disk();
    }
    sweep(names);
    if (!segments_.empty()) MR_CO_TRY(co_await recover());
  }
  high_watermark_ = end_offset_;
  visible_position_ = segments_.empty() ? 0 : active().size();
  start_offset_ = segments_.empty() ? 0 : segments_.front()->base();
  MR_CO_TRY(load_compacted());
  co_return load_start();
}

/// Removes what stood beside segments that are gone: a crash may come between the two.
void PartitionLogImpl::sweep(const std::vector<std::string>& names) {
  const auto bases = bases_of(names, ".log");
  for (const auto& name : names) {
    for (const std::string_view suffix :
         {".index", ".timeindex", ".producers", kAbortedSuffix.data()}) {
      const Offset base = base_of(name, suffix);
      if (base < 0 || std::ranges::binary_search(bases, base)) continue;
      // Harmless if it stays.
      if (auto gone = env_.files().remove(path_ + "/" + name); !gone) {
        logging::warn("a needless file stays", {{"reason", gone.error().text}});
      }
    }
  }
}

io::Task<Result<>> PartitionLogImpl::recover() {
  for (size_t i = 0; i + 1 < segments_.size(); ++i) {
    Segment& sealed = *segments_[i];
    MR_CO_TRY(auto* file, sealed.file());
    sealed.set_known(file->size(), -1, -1);
    sealed.first_append_ms = env_.now_ms();
    MR_CO_TRY(co_await sealed.load_index());
    sealed.unload();
  }
  MR_CO_TRY(producers_, co_await producers_at(active().base()));
  co_return co_await recover_tail();
}

/// Reads the last segment forward and cuts it at the first batch that is not whole. What is left
/// was perhaps never synced: it is now, before anyone reads it.
io::Task<Result<>> PartitionLogImpl::recover_tail() {
  Segment& last = active();
  const TimestampMs now = env_.now_ms();
  last.first_append_ms = now;
  last.aborted.clear();
  Segment::EachBatch each = [&](const BatchHeader& header, std::string_view batch) {
    replay(header, batch, now, producers_, &last.aborted);
  };
  const auto durable = co_await load_synced(last);
  MR_CO_TRY(end_offset_, co_await last.scan_batches(true, config_.index_interval_bytes,
                                                    std::move(each), durable));
  report_damage(last, durable);
  end_offset_ = std::max(end_offset_, durable.next);
  MR_CO_TRY(auto* file, last.file());
  if (file->size() > last.size()) {
    MR_CO_TRY(const bool torn, co_await holds_data(*file, last.size()));
    if (torn) {
      logging::warn("a torn tail is cut off", {{"segment", last.path()},
                                               {"bytes", file->size() - last.size()},
                                               {"end_offset", end_offset_}});
    }
    MR_CO_TRY(co_await cut_file());
  }
  co_return co_await file->sync();
}

/// Notes how far the last segment is on disk, from time to time: recovery tells by it what was torn
/// by the crash from what was damaged later. Need not be durable itself.
io::Task<void> PartitionLogImpl::note_synced(Durable durable) {
  const TimestampMs now = env_.now_ms();
  if (noted_base_ != active().base()) {
    noted_base_ = active().base();
    noted_position_ = 0;
    noted_ms_ = now;
  }
  const bool far = durable.position - noted_position_ >= kNoteSyncedBytes;
  if (!far && now - noted_ms_ < kNoteSyncedMs) co_return;
  std::string bytes(kSyncedMagic);
  append_be<int64_t>(bytes, active().base());
  append_be<uint64_t>(bytes, durable.position);
  append_be<int64_t>(bytes, durable.next);
  noted_position_ = durable.position;
  noted_ms_ = now;
  // The next time will do as well.
  (void)co_await write_checked(env_.files(), path_ + "/synced", std::move(bytes));
}

io::Task<Durable> PartitionLogImpl::load_synced(const Segment& last) {
  const auto bytes = co_await read_checked(env_.files(), path_ + "/synced");
  if (!bytes) co_return Durable();
  Reader from(*bytes);
  if (from.bytes(8) != kSyncedMagic || from.big_endian<int64_t>() != last.base()) {
    co_return Durable();
  }
  const auto position = from.big_endian<uint64_t>();
  const auto next = from.big_endian<int64_t>();
  co_return from.ok() ? Durable{position, next} : Durable();
}

void PartitionLogImpl::report_damage(const Segment& last, const Durable& durable) {
  for (const auto& damage : last.damaged()) report_corrupt(last, damage.from);
  if (last.size() >= durable.position) return;
  logging::error("acked records are missing", {{"segment", last.path()},
                                               {"bytes", durable.position - last.size()},
                                               {"before_offset", durable.next}});
  corrupt_batches_.add();
}

/// A damaged batch is told of once, however often it is read.
void PartitionLogImpl::report_corrupt(const Segment& segment, uint64_t position) {
  if (!reported_corrupt_.emplace(segment.base(), position).second) return;
  corrupt_batches_.add();
  logging::error("a record batch is damaged: what it held is refused, restore it from a copy",
                 {{"segment", segment.path()}, {"position", position}});
}

Result<> PartitionLogImpl::save_start(Offset start) {
  return env_.files().replace_file(path_ + "/start", fmt::format("{}\n", start));
}

Result<> PartitionLogImpl::load_start() {
  const auto path = path_ + "/start";
  if (!env_.files().exists(path)) return {};
  MR_TRY(const auto text, env_.files().read_file(path));
  Offset start = -1;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), start);
  if (failed != std::errc() || start < 0 || *end != '\n') {
    return Error{ErrorCode::kCorruptRecord, path + " is damaged; it holds one number"};
  }
  // The records that it speaks of may have been lost with a crash of the machine.
  start_offset_ = std::clamp(start, start_offset_, end_offset_);
  return {};
}

}  // namespace millrace::log::detail

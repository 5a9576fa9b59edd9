#include <fmt/format.h>

#include <algorithm>

#include "base/logging.h"
#include "log/detail/partition_log_impl.h"

namespace millrace::log::detail {

namespace {
/// What one write takes at the most, so that the first in line does not wait for all behind it.
constexpr size_t kGroupBytesMax = 8u << 20;
/// Zeros are written ahead at most so far, and after writes of at most so much.
constexpr uint64_t kAheadBytesMax = 1u << 20;
constexpr uint64_t kAheadWriteBytesMax = 256u << 10;
constexpr uint64_t kPageBytes = 4096;
constexpr int32_t kLeaderEpoch = 0;
}  // namespace

struct PartitionLogImpl::Enqueue {
  PartitionLogImpl& log;
  Pending& pending;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) const {
    pending.waiter = h;
    log.queue_.push_back(&pending);
    log.wake_writer();
  }
  void await_resume() const noexcept {}
};

io::Task<Result<AppendResult>> PartitionLogImpl::append(OwnedBytes batches, Ack ack) {
  if (config_.dedup.enabled) return append_unique(std::move(batches).take(), ack);
  return append_all(std::move(batches), ack);
}

io::Task<Result<AppendResult>> PartitionLogImpl::append_all(OwnedBytes batches, Ack ack) {
  if (closing_) co_return Error{ErrorCode::kShuttingDown, path_ + " is closing"};
  Pending pending;
  pending.ack = ack;
  pending.batches = std::move(batches);
  for (size_t at = 0; at < pending.batches.size();) {
    const auto header = parse_batch_header(pending.batches.view().substr(at));
    if (!header || header->total_bytes() > pending.batches.size() - at ||
        header->last_offset_delta < 0) {
      co_return Error{ErrorCode::kCorruptRecord, "a record batch is cut short, or is none"};
    }
    if (header->total_bytes() > config_.batch_bytes_max) {
      co_return Error{ErrorCode::kRecordTooLarge,
                      fmt::format("a record batch of {} bytes is larger than the {} that the topic "
                                  "allows (max.message.bytes)",
                                  header->total_bytes(), config_.batch_bytes_max)};
    }
    pending.headers.push_back(*header);
    at += header->total_bytes();
  }
  if (pending.headers.empty()) co_return Error{ErrorCode::kCorruptRecord, "no record batch"};
  co_return co_await queued(pending);
}

io::Task<Result<>> PartitionLogImpl::request_roll() {
  Pending pending;
  MR_CO_TRY(co_await queued(pending));
  co_return Result<>();
}

/// Waits in the queue until `pending` is answered.
io::Task<Result<AppendResult>> PartitionLogImpl::queued(Pending& pending) {
  auto enqueue = Enqueue{*this, pending};
  co_await enqueue;
  co_return std::move(*pending.result);
}

void PartitionLogImpl::wake_writer() {
  if (writing_) return;
  writing_ = true;
  shard_.spawn(gate_, write_queued());
}

io::Task<void> PartitionLogImpl::write_queued() {
  while (!queue_.empty() || sync_failed_) {
    auto ready = co_await ready_to_write();
    auto taken = take_queued();
    if (ready) {
      if (!taken.empty()) co_await write_group(std::move(taken));
      continue;
    }
    for (auto* pending : taken) refuse(*pending, ready.error());
    // The file that cannot be mended now is tried again before the next append; nobody waits for
    // it. A sync may have failed meanwhile: those who wait for it are told in one more round.
    if (queue_.empty() && unsynced_.empty()) break;
  }
  writing_ = false;
  idle_.notify_all();
}

/// Brings the log into the state that its members describe, after a failure or when it is new.
io::Task<Result<>> PartitionLogImpl::ready_to_write() {
  if (sync_failed_) MR_CO_TRY(co_await undo_unsynced());
  if (segments_.empty()) MR_CO_TRY(add_segment(end_offset_));
  if (clean_on_disk_) {
    // Need not be durable: after a crash the file's size tells that the clean file is old.
    MR_CO_TRY(env_.files().remove(path_ + "/clean"));
    clean_on_disk_ = false;
  }
  MR_CO_TRY(co_await active().load_index());
  MR_CO_TRY(co_await load_aborted(active()));
  if (tail_dirty_) MR_CO_TRY(co_await cut_file());
  co_return Result<>();
}

/// Ends the active segment's file where its batches end.
io::Task<Result<>> PartitionLogImpl::cut_file() {
  MR_CO_TRY(auto* file, active().file());
  MR_CO_TRY(co_await file->truncate(active().size()));
  ahead_ = 0;
  tail_dirty_ = false;
  co_return Result<>();
}

/// After a failed sync nobody knows which of the unsynced bytes are on disk, and a later sync would
/// not tell (the kernel has marked the pages clean). So they go, and their producers are told.
io::Task<Result<>> PartitionLogImpl::undo_unsynced() {
  const Error failed = *sync_failed_;
  while (!unsynced_.empty()) {
    undo(unsynced_.back());
    for (auto* pending : unsynced_.back().waiting) finish(*pending, failed);
    unsynced_.pop_back();
  }
  MR_CO_TRY(co_await cut_file());
  MR_CO_TRY(auto* file, active().file());
  MR_CO_TRY(co_await file->sync());
  sync_failed_.reset();
  co_return Result<>();
}

void PartitionLogImpl::undo(const Group& group) {
  end_offset_ = group.end_before;
  active().cut(group.mark);
  producers_.restore(group.producers);
  active().aborted.cut(end_offset_);
  while (!ended_.empty() && ended_.back().marker >= end_offset_) ended_.pop_back();
}

std::vector<PartitionLogImpl::Pending*> PartitionLogImpl::take_queued() {
  std::vector<Pending*> taken;
  size_t bytes = 0;
  while (!queue_.empty() && (taken.empty() || bytes < kGroupBytesMax)) {
    taken.push_back(queue_.front());
    bytes += queue_.front()->batches.size();
    queue_.pop_front();
  }
  return taken;
}

io::Task<void> PartitionLogImpl::write_group(std::vector<Pending*> taken) {
  size_t bytes = 0;
  bool roll_asked = false;
  for (const auto* pending : taken) {
    bytes += pending->batches.size();
    roll_asked |= pending->headers.empty();
  }
  if (must_roll(bytes) || (roll_asked && active().size() > 0)) {
    auto rolled = co_await roll();
    if (!rolled) {
      for (auto* pending : taken) refuse(*pending, rolled.error());
      co_return;
    }
  }
  std::vector<std::string_view> parts;
  const uint64_t position = active().size();
  auto group = assign(taken, parts);
  if (!parts.empty()) {
    Result<> written;
    auto file = active().file();
    if (file) {
      written = co_await (*file)->write_parts(position, parts);
    } else {
      written = file.error();
    }
    if (!written) {
      undo(group);
      tail_dirty_ = true;
      logging::warn("an append failed, its bytes are cut off",
                    {{"log", path_}, {"reason", written.error().text}});
      for (auto* pending : group.waiting) finish(*pending, written.error());
      co_return;
    }
    writes_.add();
    co_await write_ahead(group.position - position);
  }
  // All may have been refused, or be retries of what is durable.
  if (parts.empty() && (group.waiting.empty() || unsynced_.empty())) {
    for (auto* pending : group.waiting) finish(*pending, pending->answer);
    co_return;
  }
  settle(std::move(group));
}

/// A sync of a file that has grown has the file system commit its journal, which takes longer than
/// a small write itself. So zeros stand ready after the batches, as many as the segment has bytes:
/// what is then written into them is made durable without the journal. They go when the segment is
/// sealed or the log is closed; a reader never sees them, and a recovery cuts them off.
io::Task<void> PartitionLogImpl::write_ahead(uint64_t written) {
  static constexpr std::array<char, 64u << 10> kZeros{};
  const uint64_t size = active().size();
  if (config_.durability != Durability::kFsync || written > kAheadWriteBytesMax) co_return;
  if (size + written <= ahead_) co_return;
  const uint64_t to =
      (size + std::min(size, kAheadBytesMax) + kPageBytes) / kPageBytes * kPageBytes;
  const uint64_t from = std::max(size, ahead_);
  std::vector<std::string_view> parts;
  for (uint64_t at = from; at < to; at += parts.back().size()) {
    parts.emplace_back(kZeros.data(), std::min<uint64_t>(kZeros.size(), to - at));
  }
  auto file = active().file();
  if (!file || parts.empty()) co_return;
  // The batches stand without them: a disk that is full refuses the next append, not this one.
  auto done = co_await (*file)->write_parts(from, parts);
  ahead_ = done ? to : 0;
  tail_dirty_ = !done;
}

/// After the write: answers those who wait for no more, leaves the others to the syncer.
void PartitionLogImpl::settle(Group group) {
  const bool sync = config_.durability == Durability::kFsync || !unsynced_.empty();
  if (!sync) advance(group.end, group.position);
  std::erase_if(group.waiting, [&](Pending* pending) {
    const bool done = !sync || (pending->ack == Ack::kWritten && !sync_failed_);
    if (done) finish(*pending, pending->answer);
    return done;
  });
  if (!sync) return;
  unsynced_.push_back(std::move(group));
  written_.notify_all();
  if (syncing_ || sync_failed_) return;
  syncing_ = true;
  shard_.spawn(gate_, sync_written());
}

/// Gives every batch its offset and `parts` its bytes; answers those that are refused.
PartitionLogImpl::Group PartitionLogImpl::assign(const std::vector<Pending*>& taken,
                                                 std::vector<std::string_view>& parts) {
  Group group;
  group.end_before = end_offset_;
  group.mark = active().mark();
  if (active().size() == 0) active().first_append_ms = env_.now_ms();
  for (auto* pending : taken) {
    auto placed = place(*pending, group, parts);
    if (placed) {
      group.waiting.push_back(pending);
    } else {
      finish(*pending, std::move(placed).error());
    }
  }
  group.end = end_offset_;
  group.position = active().size();
  return group;
}

/// Adds to `parts` what of `pending` is to be written: nothing when it is a retry, whose answer is
/// that of the first time.
Result<> PartitionLogImpl::place(Pending& pending, Group& group,
                                 std::vector<std::string_view>& parts) {
  pending.answer.start_offset = start_offset_;
  if (pending.headers.empty()) return {};
  Producers::Undo undo;
  if (auto taken = take_sequences(pending, undo); !taken) {
    producers_.restore(undo);
    return taken;
  }
  std::ranges::move(undo, std::back_inserter(group.producers));
  stamp(pending, parts);
  pending.answer.base_offset = pending.headers.front().base_offset;
  pending.answer.next_offset = pending.headers.back().last_offset() + 1;
  return {};
}

/// Gives the headers their offsets and takes their producers' sequences as appended. A retry of a
/// batch keeps the offsets of the first time.
Result<> PartitionLogImpl::take_sequences(Pending& pending, Producers::Undo& undo) {
  Offset next = end_offset_;
  for (size_t i = 0; i < pending.headers.size(); ++i) {
    BatchHeader& header = pending.headers[i];
    header.base_offset = next;
    if (pending.marker) MR_TRY(end_transaction(*pending.marker, next, undo));
    if (header.producer_id >= 0 && !header.control()) {
      MR_TRY(const auto earlier, producers_.check(header));
      if (earlier) {
        pending.repeated.resize(pending.headers.size());
        pending.repeated[i] = true;
        header.base_offset = earlier->base_offset();
        continue;
      }
      producers_.apply(header, env_.now_ms(), &undo);
    }
    next = header.last_offset() + 1;
  }
  return {};
}

/// Writes the offsets into the batches and notes them in the active segment.
void PartitionLogImpl::stamp(Pending& pending, std::vector<std::string_view>& parts) {
  std::optional<TimestampMs> time;
  if (config_.timestamp_type == TimestampType::kLogAppendTime) time = env_.now_ms();
  char* at = pending.batches.data();
  size_t records = 0;
  size_t bytes = 0;
  for (size_t i = 0; i < pending.headers.size(); ++i) {
    BatchHeader& header = pending.headers[i];
    const std::string_view batch(at, header.total_bytes());
    at += batch.size();
    if (!pending.repeated.empty() && pending.repeated[i]) continue;
    patch_batch(at - batch.size(), header.base_offset, kLeaderEpoch, time);
    if (time) header.max_timestamp = *time;
    active().note(header, config_.index_interval_bytes);
    end_offset_ = header.last_offset() + 1;
    if (pending.repeated.empty() && i > 0) {
      parts.back() = {parts.back().data(), parts.back().size() + batch.size()};
    } else {
      parts.push_back(batch);
    }
    bytes += batch.size();
    records += static_cast<size_t>(std::max(header.record_count, 0));
  }
  pending.answer.duplicate = bytes == 0;
  if (bytes > 0) pending.answer.append_time_ms = time.value_or(-1);
  appended_bytes_.add(static_cast<double>(bytes));
  appended_records_.add(static_cast<double>(records));
}

/// Those whom the last sync answered are likely to send again at once. A sync that begins with the
/// first of them leaves the others to the next: half as many appends a sync, and a sync costs more
/// CPU than an append. So it waits until as many are there, for a few times what a sync takes.
io::Task<void> PartitionLogImpl::gather() {
  const auto wait =
      std::min<std::chrono::steady_clock::duration>(3 * sync_time_, config_.sync_gather_max);
  if (wait.count() == 0) co_return;
  const auto deadline = std::chrono::steady_clock::now() + wait;
  auto waiting = [this] {
    size_t n = 0;
    for (const auto& group : unsynced_) n += group.waiting.size();
    return n;
  };
  while (!closing_ && waiting() < synced_together_) {
    if (!co_await written_.wait_until(deadline)) break;
  }
}

io::Task<void> PartitionLogImpl::sync_written() {
  while (!unsynced_.empty() && !sync_failed_) {
    co_await gather();
    // The groups that are written now; the writer adds more meanwhile.
    size_t groups = unsynced_.size();
    const auto start = std::chrono::steady_clock::now();
    Result<> synced;
    auto file = active().file();
    if (file) {
      synced = co_await (*file)->sync();
    } else {
      synced = file.error();
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    sync_seconds_.observe(took.count());
    if (!synced) {
      logging::error("a sync failed, what was not synced is cut off",
                     {{"log", path_}, {"reason", synced.error().text}});
      sync_failed_ = synced.error();
      break;
    }
    sync_time_ = (sync_time_ * 7 + (std::chrono::steady_clock::now() - start)) / 8;
    const Group& last = unsynced_[groups - 1];
    const Durable durable{last.position, last.end};
    synced_together_ = 0;
    for (; groups > 0; --groups) {
      const Group group = std::move(unsynced_.front());
      synced_together_ += group.waiting.size();
      unsynced_.pop_front();
      advance(group.end, group.position);
      for (auto* pending : group.waiting) finish(*pending, pending->answer);
    }
    co_await note_synced(durable);
  }
  syncing_ = false;
  if (sync_failed_) wake_writer();
  idle_.notify_all();
}

void PartitionLogImpl::advance(Offset high_watermark, uint64_t position) {
  MR_CHECK(high_watermark >= high_watermark_);
  visible_position_ = position;
  if (high_watermark == high_watermark_) return;
  high_watermark_ = high_watermark;
  while (!ended_.empty() && ended_.front().marker < high_watermark_) ended_.pop_front();
  moved_.notify_all();
}

/// Answers one whose turn never came.
void PartitionLogImpl::refuse(Pending& pending, const Error& why) {
  for (const auto& header : pending.headers) {
    if (header.producer_id >= 0 && !header.control()) producers_.note_failed(header, env_.now_ms());
  }
  finish(pending, why);
}

void PartitionLogImpl::finish(Pending& pending, Result<AppendResult> result) {
  pending.result.emplace(std::move(result));
  shard_.post([waiter = pending.waiter] { waiter.resume(); });
}

io::Task<void> PartitionLogImpl::until_idle() {
  while (writing_ || syncing_) {
    co_await idle_.wait_until(std::chrono::steady_clock::now() + std::chrono::hours(1));
  }
}

}  // namespace millrace::log::detail

#include <fmt/format.h>

#include "base/logging.h"
#include "catalog/replacement.h"
#include "flow/detail/bridge.h"
#include "flow/detail/place.h"
#include "flow/detail/view.h"

// How a view comes back: what its changelog holds, computed again.

namespace millrace::flow {

namespace {

constexpr size_t kReadBytes = 1u << 20;

}  // namespace

Result<> View::open(io::Gate& gate, std::function<void()> wake) {
  wake_ = wake;
  commits_ = CommitQueue::make(changelog_, gate, std::move(wake));
  MR_TRY(cut_torn_tail());
  find_snapshots();
  const Offset start = changelog_->start_offset();
  if (snapshots_.empty() && changelog_->high_watermark() == start) MR_TRY(begin());
  if (letters_) MR_TRY(letters_->recover());
  if (late_letters_) MR_TRY(late_letters_->recover());
  replay_end_ = changelog_->high_watermark();
  if (snapshots_.empty()) return start_at_first_commit();
  return hold(snapshots_.back().positions);
}

Result<> View::start_at_first_commit() {
  const auto bridge = catalog::bridge_of(object_);
  replay_at_ = bridge ? bridge->at : changelog_->start_offset();
  MR_TRY(const auto first, first_commit());
  auto from = positions();
  for (size_t s = 0; s < sources_.size(); ++s) {
    std::ranges::fill(from[s], ViewSource::kUnset);
    const auto ranges = first.epochs[0].inputs.find(sources_[s].source->object().name);
    if (ranges == first.epochs[0].inputs.end()) continue;
    for (const auto& range : ranges->second)
      if (range.partition >= 0 && static_cast<size_t>(range.partition) < from[s].size())
        from[s][range.partition] = range.from;
  }
  restored_ = true;
  start_at(from);
  return hold(from);
}

Result<> View::cut_torn_tail() {
  // The last record that is a commit, batch by batch from the end: a crash leaves at most one
  // append without its own.
  const Offset end = changelog_->high_watermark();
  const Offset start = changelog_->start_offset();
  Offset keep = end;
  while (keep > start) {
    MR_TRY(const auto read, read_log(*changelog_, keep - 1, 1));
    Offset batch_start = keep;
    Offset after_commit = -1;
    const auto each = [&](const log::RecordView& record) {
      if (record.offset >= keep) return;
      batch_start = std::min(batch_start, record.offset);
      if (is_commit(record)) after_commit = record.offset + 1;
    };
    MR_TRY(log::for_each_record(read.batches, true, each));
    if (after_commit >= 0) {
      keep = after_commit;
      break;
    }
    keep = batch_start < keep ? batch_start : keep - 1;
  }
  if (keep == end) return {};
  logging::info("cut an unfinished epoch off a changelog",
                {{"view", object_.name}, {"records", end - keep}});
  return changelog_->shard().block_on(changelog_->truncate_to(keep));
}

Result<> View::begin() {
  EpochInputs start;
  start.epoch.clock_us = env_.now_ms() * 1000;
  for (const auto& source : sources_) {
    auto& ranges = start.inputs[source.source->object().name];
    for (const auto& partition : source.source->topic().partitions) {
      const Offset at = partition->start_offset();
      ranges.push_back({partition->index(), at, at});
    }
  }
  size_t records = 0;
  Commit commit{{std::move(start)}, {}, {}, shares_};
  auto bytes = writer_->write({}, commit, &records);
  MR_TRY(changelog_->shard().block_on(changelog_->append(std::move(bytes), log::Ack::kDurable)));
  return {};
}

Result<Commit> View::first_commit() {
  MR_TRY(auto commit, find_commit(*changelog_, replay_at_));
  if (!commit || commit->epochs[0].epoch.number != 0)
    return Error{ErrorCode::kCorruptRecord,
                 fmt::format("the changelog of view {} does not hold where it began: create the "
                             "view anew",
                             object_.name)};
  return std::move(*commit);
}

/// The view takes in what follows `from`.
void View::start_at(const Positions& from) {
  for (size_t s = 0; s < sources_.size(); ++s) {
    auto& source = sources_[s];
    source.positions = from[s];
    for (size_t p = 0; p < from[s].size(); ++p)
      source.source->advance(*source.reader, static_cast<int32_t>(p),
                             std::max<Offset>(from[s][p], 0));
  }
  snapshot_at_ = Clock::now();
  std::lock_guard lock(mutex_);
  shown_ = positions();
  origin_ = sum_of(shown_);
}

/// The inputs keep what follows `from`.
Result<> View::hold(const Positions& from) {
  for (size_t s = 0; s < sources_.size(); ++s)
    for (const auto& log : sources_[s].source->topic().partitions)
      MR_TRY(log->shard().block_on(log->hold(who(), std::max<Offset>(from[s][log->index()], 0))));
  return {};
}

Result<> View::replay_some() {
  if (to_replay_.empty()) {
    if (replay_at_ >= replay_end_) {
      recovered();
      return {};
    }
    return read_commits();
  }
  auto& next = to_replay_.front();
  const bool bridge = is_bridge(next.commit);
  for (; replayed_ < next.commit.epochs.size(); ++replayed_) {
    auto& epoch = next.commit.epochs[replayed_];
    if (bridge && last_epoch_.number > 0 && epoch.epoch.number <= last_epoch_.number)
      continue;  // a snapshot of the replacement has it
    if (bridge && replayed_ + 1 == next.commit.epochs.size()) {
      last_epoch_ = epoch.epoch;  // its rows follow from the logs: there is nothing to compute
      continue;
    }
    MR_TRY(const size_t count, replay(epoch));
    next.rows_again += count;
  }
  if (!bridge && next.rows_again != next.rows)
    logging::error("an epoch gave other rows when computed again",
                   {{"view", object_.name},
                    {"epoch", next.commit.epochs.back().epoch.number},
                    {"rows", next.rows_again},
                    {"before", next.rows}});
  to_replay_.pop_front();
  replayed_ = 0;
  return {};
}

Result<> View::read_commits() {
  MR_TRY(const auto read, read_log(*changelog_, replay_at_, kReadBytes));
  Result<> outcome;
  const auto each = [&](const log::RecordView& record) {
    if (record.offset < replay_at_ || record.offset >= replay_end_ || !outcome) return;
    if (!is_commit(record)) {
      ++rows_since_commit_;
      return;
    }
    auto commit = Commit::parse(record.value.value_or(""));
    if (commit)
      to_replay_.push_back({std::move(*commit), std::exchange(rows_since_commit_, 0), 0});
    else
      outcome = std::move(commit).error();
  };
  MR_TRY(log::for_each_record(read.batches, true, each));
  if (read.next_offset <= replay_at_)
    return Error{ErrorCode::kCorruptRecord,
                 fmt::format("the changelog of {} ends at {}", object_.name, replay_at_)};
  replay_at_ = read.next_offset;
  return outcome;
}

Result<size_t> View::replay(EpochInputs& epoch) {
  if (epoch.epoch.number == 0) {  // where it began
    last_epoch_ = epoch.epoch;
    return size_t{0};
  }
  if (epoch.epoch.number != last_epoch_.number + 1)
    return Error{ErrorCode::kCorruptRecord,
                 fmt::format("the changelog of {} goes from epoch {} to {}", object_.name,
                             last_epoch_.number, epoch.epoch.number)};
  MR_TRY(const auto rows, step(epoch, Pass::kReplay));
  if (!is_sink_) MR_TRY(rows_.apply(rows, std::nullopt));
  std::lock_guard lock(mutex_);
  shown_ = positions();
  return rows.row_count();
}

void View::begin_added_partitions() {
  for (auto& source : sources_)
    for (size_t p = 0; p < source.positions.size(); ++p)
      if (source.positions[p] == ViewSource::kUnset)
        source.positions[p] = source.source->topic().partitions[p]->start_offset();
}

void View::recovered() {
  begin_added_partitions();
  committed_until_ = replay_end_;
  rows_.set_end({replay_end_, last_epoch_.number});
  // Time stood still for the inputs while the view did not run.
  for (auto& source : sources_)
    for (size_t p = 0; source.watermark && p < source.watermark->partitions(); ++p)
      source.watermark->excuse(p, clock_us());
  report();
  std::lock_guard lock(mutex_);
  recovered_ = true;
  shown_ = positions();
  changed_.notify_all();
}

}  // namespace millrace::flow

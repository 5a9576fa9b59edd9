#include "flow/detail/view.h"

#include <fmt/format.h>

#include "base/logging.h"
#include "catalog/replacement.h"
#include "catalog/sink.h"
#include "flow/detail/changelog_bounds.h"
#include "flow/detail/late_rows.h"
#include "flow/detail/view_instruments.h"
#include "sql/view_options.h"

namespace millrace::flow {

namespace {

// Epochs on their way to the disk. Two keep the disk and the lane both busy; with more, epochs
// would not grow with the time that an fsync takes.
constexpr size_t kCommitsMax = 2;
constexpr size_t kCommitBytesMax = 16u << 20;
// Of the failed rows of an epoch, in its commit; what is more is only counted.
constexpr size_t kFailedBytesMax = 8u << 20;
// Epochs without output are committed with the next that has some, or after this time.
constexpr auto kCommitDelay = std::chrono::seconds(1);
constexpr auto kRetry = std::chrono::seconds(1);
constexpr size_t kBlocksWaiting = 8;  // of a snapshot, on their way to the disk
// The wall clock can be set: a view that waits for a moment looks at it this often.
constexpr auto kClockLook = std::chrono::milliseconds(500);
// Of an epoch, from which on other lanes are asked to help.
constexpr Offset kParallelRows = STANDARD_VECTOR_SIZE;

}  // namespace

View::View(io::Env& env, const Flows::Options& options, Parallel& parallel, Parts parts)
    : env_(env),
      options_(options),
      parallel_(parallel),
      object_(std::move(parts.object)),
      shares_(parts.shares),
      dataflow_(std::move(parts.dataflow)),
      sources_(std::move(parts.sources)),
      inputs_(std::move(parts.inputs)),
      changelog_(std::move(parts.changelog)),
      writer_(std::move(parts.writer)),
      letters_(std::move(parts.letters)),
      late_letters_(std::move(parts.late)),
      is_sink_(catalog::is_sink(object_)),
      snapshot_files_(std::move(parts.snapshots)),
      background_(std::move(parts.background)),
      memory_(std::move(parts.memory)),
      rows_(dataflow_->types(), dataflow_->append_only(), memory_),
      allowed_lateness_us_(
          std::chrono::microseconds(sql::ViewOptions::of(object_).allowed_lateness).count()),
      instruments_(std::make_unique<Instruments>(
          env.metrics(), object_.name + (catalog::is_replacement(object_) ? " (next)" : ""))) {
  shown_ = positions();
}

View::~View() {
  for (auto& source : sources_) source.source->unsubscribe(source.reader);
}

void View::close(bool to_stay) {
  const bool to_save = to_stay && saves_at_close();
  if (to_save && !uncommitted_.empty()) commit({}, {});
  commits_->close();
  abandon_snapshot();
  await_snapshot();
  if (to_save) save_last();
  instruments_->retire();
  std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

std::string View::who() const {
  return fmt::format("view {} {}", object_.name, catalog::changelog_id(object_));
}

std::string View::describe() const { return dataflow_->describe(); }

View::Positions View::positions() const {
  Positions all;
  for (const auto& source : sources_) all.push_back(source.positions);
  return all;
}

std::optional<Clock::time_point> View::run() {
  {
    std::lock_guard lock(mutex_);
    if (error_ || closed_ || starts_again_) return std::nullopt;
  }
  auto next = advance();
  if (next) return *next;
  // A read that failed has changed nothing.
  if (!stepping_ && info(next.error().code).retriable) {
    logging::warn("a view's inputs cannot be read, trying again",
                  {{"view", object_.name}, {"reason", next.error().text}});
    return Clock::now() + kRetry;
  }
  fail(std::move(next).error());
  return std::nullopt;
}

void View::fail(Error error) {
  logging::error("a view has stopped", {{"view", object_.name}, {"reason", error.text}});
  instruments_->failed.set(1);
  std::lock_guard lock(mutex_);
  error.text = fmt::format("view {} has stopped: {}", object_.name, error.text);
  error_ = std::move(error);
  changed_.notify_all();
}

Result<std::optional<Clock::time_point>> View::advance() {
  if (rename_metrics_.exchange(false))
    instruments_ = std::make_unique<Instruments>(env_.metrics(), object_.name);
  MR_TRY(show_durable());
  if (!recovered_) {
    if (is_full()) return std::optional(Clock::now() + kRetry);
    MR_TRY(restored_ ? replay_some() : restore());
    return starts_again_ ? std::nullopt : std::optional(Clock::now());
  }
  MR_TRY(end_snapshot());
  if (snapshot_due(Clock::now())) {
    if (!ready_for_snapshot()) return std::optional<Clock::time_point>();  // woken when it is
    take_snapshot();
  }
  // What waits to be written stands in memory: not more of it than a little.
  const bool saves = is_saving() && snapshot_under_way_->waiting < kBlocksWaiting;
  if (saves) save_some();
  if (is_full()) return std::optional(Clock::now() + (saves ? Clock::duration() : kRetry));
  MR_TRY(const auto next, live());
  return saves ? std::optional(Clock::now()) : next;
}

// ---- live epochs

Result<std::optional<Clock::time_point>> View::live() {
  const auto now = Clock::now();
  if (paused_) return std::optional<Clock::time_point>();  // resuming wakes it
  // Woken again when one of them is durable.
  if (commits_->waiting() >= kCommitsMax || commits_->waiting_bytes() >= kCommitBytesMax)
    return std::optional<Clock::time_point>();
  auto ranges = next_ranges();
  // The first epoch needs no input: constants, and aggregates of nothing, have rows from the start.
  if (ranges.empty() && last_epoch_.number > 0) {
    const auto moment = next_moment();
    if (moment && *moment <= clock_us()) {
      MR_TRY(compute({}));
      return std::optional(Clock::now());
    }
    auto next = wait_for_moment(moment);
    if (!needs_commit()) return next;
    const auto due = uncommitted_since_ + kCommitDelay;
    if (now < due) return next ? std::min(*next, due) : std::optional(due);
    commit({}, {});
    return next;
  }
  size_t waiting = 0;
  for (const auto& [topic, taken] : ranges)
    for (const auto& range : taken) waiting += range.until - range.from;
  if (now < last_start_ + options_.epoch_interval && waiting < options_.epoch_rows_max / 4)
    return std::optional(last_start_ + options_.epoch_interval);
  last_start_ = now;
  MR_TRY(compute(std::move(ranges)));
  return std::optional(Clock::now());
}

int64_t View::clock_us() { return std::max(last_epoch_.clock_us, env_.now_ms() * 1000); }

std::optional<int64_t> View::next_moment() const {
  auto next = dataflow_->next_turn_us();
  const bool waits = dataflow_->waits_for_frontier();
  for (const auto& source : sources_) {
    if (!source.watermark || (source.watermark->now() && !waits)) continue;
    const auto moves = source.watermark->next_us();
    if (moves) next = std::min(next.value_or(*moves), *moves);
  }
  return next;
}

std::optional<Clock::time_point> View::wait_for_moment(std::optional<int64_t> moment) {
  if (!moment) return std::nullopt;
  const auto left = std::chrono::microseconds(*moment - clock_us());
  return Clock::now() + std::min<std::chrono::microseconds>(left, kClockLook);
}

bool View::needs_commit() const {
  // What the clock alone has done shows nowhere yet: rows that come later take it with them.
  return std::ranges::any_of(uncommitted_, [](const auto& epoch) { return !epoch.inputs.empty(); });
}

InputRanges View::next_ranges() const {
  // Tables first: a stream that joins rows which are still to come would be corrected for each.
  InputRanges ranges;
  bool whole = true;
  for (const auto& source : sources_)
    if (source.is_table()) whole = take_ranges(source, ranges) && whole;
  if (!whole) return ranges;
  for (const auto& source : sources_)
    if (!source.is_table()) take_ranges(source, ranges);
  return ranges;
}

bool View::take_ranges(const ViewSource& source, InputRanges& ranges) const {
  const auto& partitions = source.source->topic().partitions;
  size_t with_input = 0;
  for (size_t p = 0; p < source.positions.size(); ++p)
    with_input += partitions[p]->last_stable_offset() > source.positions[p];
  if (with_input == 0) return true;
  const auto most = static_cast<Offset>(std::max<size_t>(options_.epoch_rows_max / with_input, 1));
  bool whole = true;
  auto& taken = ranges[source.source->object().name];
  for (size_t p = 0; p < source.positions.size(); ++p) {
    const Offset from = source.positions[p];
    const Offset end = partitions[p]->last_stable_offset();
    if (end <= from) continue;
    const Offset until = std::min(end, from + most);
    whole = whole && until == end;
    taken.push_back({static_cast<int32_t>(p), from, until});
  }
  return whole;
}

Result<> View::compute(InputRanges ranges) {
  EpochInputs epoch;
  epoch.epoch.number = last_epoch_.number + 1;
  epoch.epoch.clock_us = clock_us();
  epoch.inputs = std::move(ranges);
  const bool silent = epoch.inputs.empty();
  if (silent && !uncommitted_.empty() && uncommitted_.back().inputs.empty()) {
    // The last one had neither input nor output: the two are as good as one at the later clock.
    epoch.epoch.number = uncommitted_.back().epoch.number;
    epoch.watermarks = std::move(uncommitted_.back().watermarks);
    uncommitted_.pop_back();
  }
  MR_TRY(auto rows, step(epoch, Pass::kLive));
  MR_TRY(auto failed, failed_rows(std::move(rows.errors)));
  MR_TRY(auto late, late_rows());
  instruments_->rows_out.add(static_cast<double>(rows.row_count()));
  if (!needs_commit()) uncommitted_since_ = Clock::now();
  uncommitted_.push_back(std::move(epoch));
  if (rows.row_count() > 0 || !failed.empty() || !late.empty()) {
    commit(std::move(rows), std::move(failed), std::move(late));
  } else {
    computed_.push_back({.positions = positions(), .durable = true});
    if (!silent && Clock::now() >= uncommitted_since_ + kCommitDelay) commit({}, {});
  }
  return show_durable();
}

Result<std::vector<FailedRow>> View::failed_rows(std::vector<RowError> errors) {
  std::vector<FailedRow> failed;
  if (errors.empty()) return failed;
  instruments_->failed_rows.add(static_cast<double>(errors.size()));
  const auto on_error = object_.options.find("on_error");
  if (on_error != object_.options.end() && on_error->second == "stop")
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("{}, in the row {}", errors[0].reason, errors[0].json), std::nullopt,
                 "on_error = 'dead_letter' sets such rows aside, 'skip' passes them over"};
  if (!letters_) return failed;
  stepping_ = true;  // the state holds the epoch already: failing here is for good
  MR_TRY(letters_->prepare());
  stepping_ = false;
  size_t bytes = 0;
  for (size_t i = 0; i < errors.size() && bytes < kFailedBytesMax; ++i) {
    bytes += errors[i].json.size() + errors[i].reason.size();
    failed.push_back({std::move(errors[i].reason), std::move(errors[i].json)});
  }
  if (failed.size() < errors.size())
    failed.push_back({fmt::format("{} more rows of epoch {} failed", errors.size() - failed.size(),
                                  last_epoch_.number),
                      "{}"});
  return failed;
}

Result<std::vector<FailedRow>> View::late_rows() {
  if (late_.empty() || !late_letters_) return std::vector<FailedRow>();
  stepping_ = true;
  MR_TRY(late_letters_->prepare());
  stepping_ = false;
  std::optional<int64_t> watermark;
  for (const auto& source : sources_)
    if (const auto now = source.watermark ? source.watermark->now() : std::nullopt)
      watermark = std::min(watermark.value_or(*now), *now);
  return late_records(late_, watermark.value_or(0) - allowed_lateness_us_);
}

void View::commit(DeltaStream rows, std::vector<FailedRow> failed, std::vector<FailedRow> late) {
  size_t records = 0;
  Commit record{std::exchange(uncommitted_, {}), std::move(failed), std::move(late), shares_};
  std::string bytes = writer_->write(rows, record, &records, &parallel_);
  computed_.push_back({.positions = positions(),
                       .rows = std::move(rows),
                       .failed = std::move(record.failed),
                       .late = std::move(record.late),
                       .clock_us = last_epoch_.clock_us,
                       .epoch = last_epoch_.number});
  commits_->push(std::move(bytes), records);
}

Result<> View::show_durable() {
  if (auto failure = commits_->failure()) return std::move(*failure);
  auto waiting = computed_.begin();
  for (const auto& done : commits_->take_done()) {
    committed_until_ = done.until;
    waiting = std::find_if(waiting, computed_.end(), [](const auto& c) { return !c.durable; });
    MR_CHECK(waiting != computed_.end());
    waiting->durable = true;
    waiting->commit = done.until - 1;
  }
  if (computed_.empty() || !computed_.front().durable) return {};
  while (!computed_.empty() && computed_.front().durable) {
    auto& epoch = computed_.front();
    if (!epoch.failed.empty())
      MR_TRY(letters_->write(epoch.commit, epoch.clock_us / 1000, epoch.failed));
    if (!epoch.late.empty())
      MR_TRY(late_letters_->write(epoch.commit, epoch.clock_us / 1000, epoch.late));
    epoch.failed.clear();
    epoch.late.clear();
    std::optional<ChangelogEnd> end;
    if (epoch.commit > 0) end = {epoch.commit + 1, epoch.epoch};
    if (!is_sink_) MR_TRY(rows_.apply(epoch.rows, end));
    report();  // before who waits for these rows may look at it
    std::lock_guard lock(mutex_);
    shown_ = std::move(computed_.front().positions);
    computed_.pop_front();
  }
  changed_.notify_all();
  return {};
}

// ---- one epoch

Result<DeltaStream> View::step(EpochInputs& epoch, Pass pass) {
  MR_TRY(auto reads, read(epoch.inputs));
  stepping_ = true;
  std::vector<DeltaStream> streams(inputs_.size());
  feed(reads, streams);
  feed_watermarks(reads, epoch, pass, streams);
  size_t rows = 0;
  for (const auto& stream : streams) rows += stream.row_count();
  DeltaStream out;
  MR_TRY(dataflow_->step(epoch.epoch, streams, out));
  if (pass == Pass::kLive) add_bounds(out.frontiers, bounds_, epoch);
  stepping_ = false;
  last_epoch_ = epoch.epoch;
  memory_->report(state_bytes());
  memory_->trim();
  rows_since_snapshot_ += rows;
  ++epochs_since_snapshot_;
  late_.clear();
  dataflow_->take_late(late_);
  if (!late_.empty()) late_seen_us_ = epoch.epoch.clock_us;
  instruments_->epochs.add();
  instruments_->rows_in.add(static_cast<double>(rows));
  for (const auto& read : reads) {
    auto& source = sources_[read.source];
    for (const auto& cursor : read.cursors) {
      source.positions[cursor.partition] = cursor.until;
      source.source->advance(*source.reader, cursor.partition, cursor.until);
    }
  }
  return out;
}

Result<View::Read> View::plan_read(size_t at, const std::vector<OffsetRange>& ranges) const {
  const auto& source = sources_[at];
  Read read{at, {}};
  for (const auto& range : ranges) {
    const auto wrong = [&](std::string_view why) {
      return Error{ErrorCode::kOffsetOutOfRange,
                   fmt::format("offsets {} to {} of partition {} of {} {}", range.from, range.until,
                               range.partition, source.source->object().name, why)};
    };
    if (range.partition < 0 || static_cast<size_t>(range.partition) >= source.positions.size() ||
        (source.positions[range.partition] != ViewSource::kUnset &&
         range.from != source.positions[range.partition]) ||
        range.until < range.from)
      return wrong("do not follow what the view has taken in");
    if (source.source->topic().partitions[range.partition]->start_offset() > range.from)
      return wrong("are needed to compute the view, and are deleted: create it anew");
    for (Offset from = range.from; from < range.until;) {
      const Offset end = std::min(range.until, (from / Source::kStripe + 1) * Source::kStripe);
      read.cursors.push_back({range.partition, from, end, {}});
      from = end;
    }
  }
  return read;
}

Result<std::vector<View::Read>> View::read(const InputRanges& ranges) {
  std::vector<Read> reads;
  for (const auto& [topic, taken] : ranges) {
    const auto named = [&](const auto& s) { return s.source->object().name == topic; };
    const auto found = std::ranges::find_if(sources_, named);
    if (found == sources_.end())
      return Error{ErrorCode::kCorruptRecord,
                   fmt::format("the changelog of {} names the input {}", object_.name, topic)};
    MR_TRY(auto read, plan_read(found - sources_.begin(), taken));
    reads.push_back(std::move(read));
  }
  struct Left {
    Source* source;
    Source::Cursor* cursor;
  };
  std::vector<Left> left;
  Offset offsets = 0;
  for (auto& read : reads)
    for (auto& cursor : read.cursors) {
      left.push_back({sources_[read.source].source.get(), &cursor});
      offsets += cursor.until - cursor.at;
    }
  auto* const parallel = offsets < kParallelRows ? nullptr : &parallel_;
  // What another view's lane decodes just now comes last: it will be there for the taking.
  for (bool wait = false; !left.empty();) {
    MR_TRY(for_each_piece(parallel, left.size(),
                          [&](size_t i) { return left[i].source->read(*left[i].cursor, wait); }));
    wait = std::erase_if(left, [](const Left& one) { return one.cursor->done(); }) == 0;
  }
  return reads;
}

void View::feed(const std::vector<Read>& reads, std::vector<DeltaStream>& streams) {
  for (size_t i = 0; i < inputs_.size(); ++i) {
    auto& input = inputs_[i];
    const auto read = std::ranges::find(reads, input.source, &Read::source);
    if (read == reads.end()) continue;
    for (const auto& cursor : read->cursors) {
      cut_chunks(cursor.spans, input.columns, [&](ReadChunk& chunk) {
        if (input.upsert) return input.upsert->apply(chunk, streams[i]);
        auto delta = std::make_shared<Delta>();
        if (chunk.rows.ColumnCount() > 0) delta->rows.Move(chunk.rows);
        delta->rows.SetCardinality(chunk.weights.size());
        delta->weights = std::move(chunk.weights);
        streams[i].chunks.push_back(std::move(delta));
      });
    }
  }
}

void View::feed_watermarks(const std::vector<Read>& reads, EpochInputs& epoch, Pass pass,
                           std::vector<DeltaStream>& streams) {
  const int64_t clock_us = epoch.epoch.clock_us;
  for (size_t s = 0; s < sources_.size(); ++s) {
    auto& source = sources_[s];
    const auto read = std::ranges::find(reads, s, &Read::source);
    feed_bounds(s, read != reads.end() ? &*read : nullptr, streams);
    if (!source.watermark) continue;
    if (read != reads.end()) observe_rows(source, *read, clock_us);
    const auto& topic = source.source->object().name;
    const auto before = source.watermark->now();
    if (pass == Pass::kLive) {
      excuse_unread(source, read != reads.end() ? &*read : nullptr, clock_us);
      const auto now = source.watermark->advance(clock_us);
      if (now != before) epoch.watermarks[topic] = *now;
    } else if (const auto was = epoch.watermarks.find(topic); was != epoch.watermarks.end()) {
      source.watermark->restore(was->second);
    }
    const auto now = source.watermark->now();
    if (!now) continue;
    for (size_t i = 0; i < inputs_.size(); ++i)
      if (inputs_[i].source == s && inputs_[i].frontier_column)
        streams[i].frontiers.push_back({*inputs_[i].frontier_column, *now - allowed_lateness_us_});
  }
}

/// What another view's commits say of its columns bounds them here. It follows from the records
/// that the epoch has read: a replay finds it there again.
void View::feed_bounds(size_t source, const Read* read, std::vector<DeltaStream>& streams) {
  auto& known = sources_[source].bounds;
  for (const auto& cursor : read ? std::span(read->cursors) : std::span<const Source::Cursor>())
    for (const auto& span : cursor.spans)
      for (const auto& [offset, bounds] : span.piece->bounds)
        if (offset < cursor.until)
          for (const auto& [column, time_us] : bounds) {
            const auto [at, fresh] = known.try_emplace(column, time_us);
            at->second = std::max(at->second, time_us);
          }
  for (size_t i = 0; i < inputs_.size(); ++i)
    for (size_t c = 0; inputs_[i].source == source && c < inputs_[i].columns.size(); ++c)
      if (const auto found = known.find(inputs_[i].columns[c]); found != known.end())
        streams[i].frontiers.push_back({c, found->second - allowed_lateness_us_});
}

void View::observe_rows(ViewSource& source, const Read& read, int64_t clock_us) {
  for (const auto& cursor : read.cursors)
    for (const auto& [piece, begin, end] : cursor.spans) {
      if (begin == end) continue;
      const auto& times = piece->watermarks_us;
      const auto most = std::max_element(times.begin() + begin, times.begin() + end);
      source.watermark->observe(cursor.partition, *most, clock_us);
    }
}

/// A partition whose records wait to be read is not silent.
void View::excuse_unread(ViewSource& source, const Read* read, int64_t clock_us) {
  for (size_t p = 0; p < source.positions.size(); ++p) {
    Offset until = source.positions[p];
    if (read)
      for (const auto& cursor : read->cursors)
        if (static_cast<size_t>(cursor.partition) == p) until = cursor.until;
    if (source.source->topic().partitions[p]->last_stable_offset() > until)
      source.watermark->excuse(p, clock_us);
  }
}

// ---- waiting

Result<> View::wait_recovered(Clock::time_point deadline) const {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, deadline, [&] { return recovered_ || error_ || closed_; });
  if (error_) return *error_;
  if (recovered_) return {};
  if (closed_ && !starts_again_)
    return Error{ErrorCode::kUndefinedObject, "view " + object_.name + " is gone"};
  return Error{ErrorCode::kCancelled,
               fmt::format("view {} is still being recovered; try again later", object_.name)};
}

Result<> View::wait_shown(const Positions& targets, Clock::time_point deadline) const {
  std::unique_lock lock(mutex_);
  const auto reached = [&] {
    for (size_t s = 0; s < targets.size(); ++s)
      for (size_t p = 0; p < targets[s].size(); ++p)
        if (shown_[s][p] < targets[s][p]) return false;
    return true;
  };
  changed_.wait_until(lock, deadline,
                      [&] { return (recovered_ && reached()) || error_ || closed_; });
  if (error_) return *error_;
  if (recovered_ && reached()) return {};
  return Error{ErrorCode::kCancelled,
               fmt::format("view {} has not caught up in time", object_.name)};
}

bool View::is_live() const {
  const auto now = status();
  return now.state == "live" && now.epoch > 0;
}

}  // namespace millrace::flow

#include <fmt/format.h>

#include <thread>

#include "base/logging.h"
#include "flow/detail/view.h"

// Snapshots of a view: what is kept of its state on disk, when, and how it comes back from there.

namespace millrace::flow {

namespace {

constexpr size_t kKept = 2;                       // the older one is for when the newer is damaged
constexpr size_t kStateBytesAtClose = 256 << 20;  // what a clean stop may wait for
constexpr size_t kBytesOfARow = 64;               // of input, as a guess

}  // namespace

/// What must be as it was for a state to fit: the program's parts that know its layout, the plan,
/// and the inputs.
std::string View::fingerprint() const {
  std::string text = fmt::format("{}\n{}", duckdb::DuckDB::LibraryVersion(), describe());
  for (const auto& input : dataflow_->inputs()) {
    text += fmt::format("{} {}:", input.object.name, input.object.id.to_string());
    for (size_t i = 0; i < input.columns.size(); ++i)
      text += fmt::format(" {} {}", input.columns[i], input.types[i].ToString());
    text += '\n';
  }
  for (const auto& type : dataflow_->types()) text += type.ToString() + "\n";
  return text;
}

void View::save_head(const SnapshotHead& head, StateWriter& out) const {
  out.begin("view", 1);
  out.bytes(fingerprint());
  out.number(head.epoch.number);
  out.number(head.epoch.clock_us);
  out.number(head.changelog);
  for (const auto& positions : head.positions) {
    out.number(static_cast<uint64_t>(positions.size()));
    for (const Offset at : positions) out.number(at);
  }
}

Result<View::SnapshotHead> View::load_head(StateReader& in) const {
  SnapshotHead head;
  in.begin("view", 1);
  if (in.bytes() != fingerprint()) in.fail("it was taken of another query, or by another version");
  head.epoch.number = in.number<uint64_t>();
  head.epoch.clock_us = in.number<int64_t>();
  head.changelog = in.number<Offset>();
  for (const auto& source : sources_) {
    // A partition that was added since has none.
    auto& positions =
        head.positions.emplace_back(source.source->topic().partitions.size(), ViewSource::kUnset);
    const auto count = in.number<uint64_t>();
    if (count > positions.size()) in.fail("an input has fewer partitions than it had");
    for (uint64_t p = 0; p < count && in.ok(); ++p) positions[p] = in.number<Offset>();
  }
  MR_TRY(in.result());
  return head;
}

Result<View::SnapshotHead> View::usable_head(uint64_t epoch) const {
  MR_TRY(auto in, snapshot_files_->read(epoch));
  MR_TRY(auto head, load_head(in));
  if (head.changelog > changelog_->high_watermark() || head.changelog < changelog_->start_offset())
    return Error{ErrorCode::kCorruptRecord, "the changelog does not hold what follows it"};
  for (size_t s = 0; s < sources_.size(); ++s)
    for (const auto& log : sources_[s].source->topic().partitions) {
      const Offset at = head.positions[s][log->index()];
      if (at != ViewSource::kUnset && (log->start_offset() > at || log->high_watermark() < at))
        return Error{ErrorCode::kOffsetOutOfRange,
                     fmt::format("partition {} of {} does not hold offset {}, which follows it",
                                 log->index(), log->topic(), at)};
    }
  return head;
}

void View::find_snapshots() {
  for (const uint64_t epoch : snapshot_files_->list()) {
    auto head = usable_head(epoch);
    if (head)
      snapshots_.push_back(std::move(*head));
    else
      give_up_snapshot(epoch, head.error());
  }
}

void View::give_up_snapshot(uint64_t epoch, const Error& why) {
  logging::warn("a snapshot is of no use, going on without it",
                {{"view", object_.name}, {"epoch", epoch}, {"reason", why.text}});
  // It must not stand in the place of an older one that is whole.
  if (why.code != ErrorCode::kIo) static_cast<void>(snapshot_files_->remove(epoch));
}

Result<> View::restore() {
  while (!snapshots_.empty()) {
    const auto& head = snapshots_.front();
    const auto whole = snapshot_files_->verify(head.epoch.number);
    if (whole) return restore_from(head);
    give_up_snapshot(head.epoch.number, whole.error());
    snapshots_.pop_front();
  }
  return start_at_first_commit();
}

Result<> View::restore_from(const SnapshotHead& head) {
  MR_TRY(auto in, snapshot_files_->read(head.epoch.number));
  MR_TRY(load_head(in));
  stepping_ = true;  // a state that is half there is not to be used
  for (auto& source : sources_)
    if (source.watermark) source.watermark->load(in);
  for (auto& input : inputs_)
    if (input.upsert) input.upsert->load(in);
  MR_TRY(dataflow_->load(in));
  if (!is_sink_) MR_TRY(rows_.load(in));
  stepping_ = false;
  start_at(head.positions);
  last_epoch_ = head.epoch;
  replay_at_ = head.changelog;
  restored_ = true;
  logging::info("a view's state comes from a snapshot",
                {{"view", object_.name}, {"epoch", head.epoch.number}});
  return {};
}

/// When what came in since the last is worth it: a quarter of the state, or a long time. Writing
/// takes at most a tenth of the time.
bool View::snapshot_due(Clock::time_point now) const {
  if (!options_.snapshot_interval || snapshot_under_way_ || epochs_since_snapshot_ == 0)
    return false;
  const Clock::duration interval =
      std::max<Clock::duration>(*options_.snapshot_interval, 10 * snapshot_time_);
  if (now < snapshot_at_ + interval || !dataflow_->can_save()) return false;
  return rows_since_snapshot_ * kBytesOfARow * 4 >= state_bytes() ||
         now >= snapshot_at_ + 20 * interval;
}

bool View::ready_for_snapshot() {
  if (!uncommitted_.empty()) commit({}, {});
  return computed_.empty();
}

void View::take_snapshot() {
  const auto start = Clock::now();
  auto write = std::make_shared<SnapshotWrite>();
  write->head = {last_epoch_, committed_until_, positions()};
  if (!is_sink_) write->rows = rows_.freeze();
  snapshot_under_way_ = write;
  background_->push([write, files = snapshot_files_, wake = wake_] {
    write->run(*files);
    wake();
  });
  StateWriter out([&](std::string block) { write->pipe.push(std::move(block)); });
  save_head(write->head, out);
  for (const auto& source : sources_)
    if (source.watermark) source.watermark->save(out);
  for (const auto& input : inputs_)
    if (input.upsert) input.upsert->save(out);
  dataflow_->save(out);
  out.finish();
  write->pipe.end();
  snapshot_at_ = start;
  rows_since_snapshot_ = epochs_since_snapshot_ = 0;
  write->pause = Clock::now() - start;
}

/// The lane's blocks come first, then the rows, which do not change under it.
void View::SnapshotWrite::run(SnapshotFiles& files) {
  const auto start = Clock::now();
  std::deque<std::string> blocks;
  StateWriter out([&](std::string block) { blocks.push_back(std::move(block)); });
  bool lane_is_done = false;
  const auto next = [&]() -> std::string {
    if (!lane_is_done) {
      if (auto block = pipe.take(); !block.empty()) return block;
      lane_is_done = true;
      if (rows) rows(out);
      out.finish();
    }
    if (blocks.empty()) return {};
    auto block = std::move(blocks.front());
    blocks.pop_front();
    return block;
  };
  outcome = files.write(head.epoch.number, kKept, next);
  took = Clock::now() - start;
  done = true;
}

Result<> View::end_snapshot() {
  if (!snapshot_under_way_ || !snapshot_under_way_->done) return {};
  auto write = std::exchange(snapshot_under_way_, nullptr);
  snapshot_time_ = write->took;
  if (!*write->outcome) {
    logging::warn("a snapshot cannot be written, going on without it",
                  {{"view", object_.name}, {"reason", write->outcome->error().text}});
    return {};
  }
  report_snapshot(**write->outcome, write->pause);
  snapshots_.push_front(std::move(write->head));
  while (snapshots_.size() > kKept) snapshots_.pop_back();
  // What the older one needs stays, for when the newer is damaged.
  return hold(snapshots_.back().positions);
}

void View::await_snapshot() const {
  while (snapshot_under_way_ && !snapshot_under_way_->done)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

/// The end of a view that will come back: what is cheap to write spares it the replay.
void View::save_last() {
  if (!show_durable() || !computed_.empty() || !end_snapshot()) return;
  if (epochs_since_snapshot_ == 0) return;
  take_snapshot();
  await_snapshot();
  if (auto ended = end_snapshot(); !ended)
    logging::warn("a view's inputs cannot be let go",
                  {{"view", object_.name}, {"reason", ended.error().text}});
}

bool View::saves_at_close() const {
  return options_.snapshot_interval && recovered_ && !stepping_ && epochs_since_snapshot_ > 0 &&
         dataflow_->can_save() && state_bytes() <= kStateBytesAtClose;
}

void View::forget() { snapshot_files_->remove_all(); }

}  // namespace millrace::flow

#include <fmt/format.h>

#include <thread>

#include "base/logging.h"
#include "catalog/replacement.h"
#include "flow/detail/view.h"

// Snapshots of a view: what is kept of its state on disk, when, and how it comes back from there.

namespace millrace::flow {

namespace {

constexpr size_t kKept = 2;                       // the older one is for when the newer is damaged
constexpr size_t kStateBytesAtClose = 256 << 20;  // what a clean stop may wait for
constexpr size_t kBytesOfARow = 64;               // of input, as a guess
// The view stands still for a slice of the saving at a time, and looks at the clock so often.
constexpr auto kSlice = std::chrono::milliseconds(5);
constexpr size_t kSliceBytes = 64 << 10;

}  // namespace

/// What must be as it was for a state to fit: the program's parts that know its layout, the plan,
/// and the inputs.
std::string View::fingerprint() const {
  std::string text = fmt::format("{}\n{}", duckdb::DuckDB::LibraryVersion(), describe());
  for (const auto& input : dataflow_->inputs()) {
    text += fmt::format("{} {}:", input.object.name, input.object.id.to_string());
    for (size_t i = 0; i < input.columns.size(); ++i) {
      // By name: a view that is replaced under its readers may have others beside it.
      const size_t at = input.columns[i];
      const auto& all = input.object.columns;
      text += fmt::format(" {} {}", at < all.size() ? all[at].name : std::to_string(at),
                          input.types[i].ToString());
    }
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
  // One of the time when the view was a replacement names an offset of that one's changelog. What
  // follows it is in the bridge's commit.
  const auto bridge = catalog::bridge_of(object_);
  if (bridge && head.epoch.number < bridge->epoch) head.changelog = bridge->at;
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
    auto restored = whole ? restore_from(head) : Result<>(whole.error());
    if (restored) return restored;
    if (restored.error().code == ErrorCode::kIo && whole) return restored;
    give_up_snapshot(head.epoch.number, restored.error());
    if (whole) {  // the operators hold part of it
      starts_again_ = true;
      return {};
    }
    snapshots_.pop_front();
  }
  return start_at_first_commit();
}

namespace {

bool is_view(const ViewSource& source) {
  return source.source->object().kind == catalog::Kind::kMaterializedView;
}

void save_bounds(const ViewSource& source, StateWriter& out) {
  if (!is_view(source)) return;
  out.begin("bounds", 1);
  out.number(static_cast<uint64_t>(source.bounds.size()));
  for (const auto& [column, time_us] : source.bounds) {
    out.number(static_cast<uint64_t>(column));
    out.number(time_us);
  }
}

void load_bounds(ViewSource& source, StateReader& in) {
  if (!is_view(source)) return;
  in.begin("bounds", 1);
  for (auto left = in.number<uint64_t>(); left > 0 && in.ok(); --left) {
    const auto column = in.number<uint64_t>();
    source.bounds[column] = in.number<int64_t>();
  }
}

}  // namespace

Result<> View::restore_from(const SnapshotHead& head) {
  MR_TRY(auto in, snapshot_files_->read(head.epoch.number));
  MR_TRY(load_head(in));
  stepping_ = true;  // a state that is half there is not to be used
  for (auto& source : sources_) {
    if (source.watermark) source.watermark->load(in);
    load_bounds(source, in);
  }
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
         (snapshots_.empty() && rows_since_snapshot_ > 0) ||
         (rows_in_snapshot_ > 0 && rows_since_snapshot_ * 4 >= rows_in_snapshot_) ||
         now >= snapshot_at_ + 20 * interval;
}

bool View::ready_for_snapshot() {
  if (!uncommitted_.empty()) commit({}, {});
  return computed_.empty();
}

View::SnapshotWrite::SnapshotWrite(Background& writer, std::function<void()> wake)
    : out([this, &writer, wake = std::move(wake)](std::string block) {
        ++waiting;
        writer.push([this, wake, block = std::move(block)] {
          const auto start = Clock::now();
          file->add(block);
          took += Clock::now() - start;
          if (--waiting == 0) wake();
        });
      }) {}

/// Freezes the state as it is. What it was is saved a part at a time between later epochs, and what
/// an epoch changes before it was saved the operators save first: so the file is the state as it
/// was here.
void View::take_snapshot() {
  const auto start = Clock::now();
  auto write = std::make_shared<SnapshotWrite>(*background_, wake_);
  write->head = {last_epoch_, committed_until_, positions()};
  write->file = snapshot_files_->draft(last_epoch_.number);
  if (!is_sink_) write->rows = rows_.freeze();
  snapshot_under_way_ = write;
  save_head(write->head, write->out);
  for (const auto& source : sources_) {
    if (source.watermark) source.watermark->save(write->out);
    save_bounds(source, write->out);
  }
  for (const auto& input : inputs_)
    if (input.upsert) input.upsert->freeze();
  dataflow_->freeze();
  snapshot_at_ = start;
  rows_in_snapshot_ += rows_since_snapshot_;
  rows_since_snapshot_ = epochs_since_snapshot_ = 0;
  write->pause = Clock::now() - start;
}

void View::save_some() {
  auto& write = *snapshot_under_way_;
  const auto start = Clock::now();
  const auto save = [&] {
    for (const auto& input : inputs_)
      if (input.upsert && !input.upsert->save_some(write.out, kSliceBytes)) return false;
    return dataflow_->save_some(write.out, kSliceBytes);
  };
  while (!write.saved && Clock::now() < start + kSlice) write.saved = save();
  if (write.saved) {
    write.out.finish();
    background_->push([this, write = snapshot_under_way_] { finish_snapshot(write); });
  }
  const auto stood = Clock::now() - start;
  write.saving += stood;
  write.pause = std::max<Clock::duration>(write.pause, stood);
}

/// In the background. The lane's blocks came first, then the rows, which do not change under it.
void View::finish_snapshot(const std::shared_ptr<SnapshotWrite>& write) {
  const auto start = Clock::now();
  if (write->rows) {
    StateWriter out([&](const std::string& block) { write->file->add(block); });
    write->rows(out);
    out.finish();
  }
  write->outcome = snapshot_files_->publish(*write->file, write->head.epoch.number, kKept);
  write->took += Clock::now() - start;
  const auto wake = wake_;  // the view may go when it is done
  write->done = true;
  wake();
}

Result<> View::end_snapshot() {
  if (!snapshot_under_way_ || !snapshot_under_way_->done) return {};
  auto write = std::exchange(snapshot_under_way_, nullptr);
  snapshot_time_ = write->took + write->saving;
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

/// One that is not saved to its end will not be.
void View::abandon_snapshot() {
  if (!is_saving()) return;
  background_->push([write = snapshot_under_way_] {
    write->file->abandon();
    write->done = true;
  });
  await_snapshot();
  snapshot_under_way_ = nullptr;
}

/// The end of a view that will come back: what is cheap to write spares it the replay.
void View::save_last() {
  if (!show_durable() || !computed_.empty() || !end_snapshot()) return;
  if (epochs_since_snapshot_ == 0) return;
  take_snapshot();
  while (is_saving()) save_some();
  await_snapshot();
  if (auto ended = end_snapshot(); !ended)
    logging::warn("a view's inputs cannot be let go",
                  {{"view", object_.name}, {"reason", ended.error().text}});
}

bool View::saves_at_close() const {
  {
    std::lock_guard lock(mutex_);
    if (error_) return false;  // the state may hold an epoch that is not in the changelog
  }
  return options_.snapshot_interval && recovered_ && !stepping_ && epochs_since_snapshot_ > 0 &&
         dataflow_->can_save() && state_bytes() <= kStateBytesAtClose;
}

void View::forget() { snapshot_files_->remove_all(); }

}  // namespace millrace::flow

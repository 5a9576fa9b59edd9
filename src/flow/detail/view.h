#pragma once

#include <duckdb.hpp>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "flow/detail/changelog.h"
#include "flow/detail/commit_queue.h"
#include "flow/detail/dataflow.h"
#include "flow/detail/lanes.h"
#include "flow/detail/snapshot_files.h"
#include "flow/detail/source.h"
#include "flow/detail/state_memory.h"
#include "flow/detail/state_stream.h"
#include "flow/detail/upsert.h"
#include "flow/detail/view_letters.h"
#include "flow/detail/view_rows.h"
#include "flow/detail/watermark.h"
#include "flow/flows.h"

namespace millrace::flow {

/// One topic, table or view that a view reads, once, however often the query names it.
struct ViewSource {
  std::shared_ptr<Source> source;
  std::shared_ptr<Source::Reader> reader;
  std::vector<Offset> positions;  // the first offset of each partition not yet taken in; or kUnset
  std::optional<Watermark> watermark;
  ColumnBounds bounds;  // of a view, as its commits say
  /// Of a partition that was added after the view had begun, until its first epoch.
  static constexpr Offset kUnset = -1;
  bool is_table() const { return source->object().kind == catalog::Kind::kTable; }
};

/// How one scan of the dataflow is fed.
struct ViewInput {
  size_t source = 0;  // index into the view's sources
  std::vector<size_t> columns;
  std::unique_ptr<UpsertInput> upsert;    // of a table
  std::optional<size_t> frontier_column;  // where the watermark's column stands
};

/// A materialized view at work: takes epochs from its inputs, steps its dataflow, commits what came
/// out to its changelog, and then shows it in its rows. At first it computes again the epochs that
/// its changelog holds, which gives it back its state. Lanes run it; the rest is for any thread.
class View : public Job, public std::enable_shared_from_this<View> {
 public:
  struct Parts {
    catalog::Object object;
    size_t shares = 1;  // of its dataflow
    std::unique_ptr<Dataflow> dataflow;
    std::vector<ViewSource> sources;
    std::vector<ViewInput> inputs;
    std::shared_ptr<broker::Partition> changelog;
    std::unique_ptr<ChangelogWriter> writer;
    std::unique_ptr<ViewLetters> letters;  // none: on_error is not 'dead_letter'
    std::unique_ptr<SnapshotFiles> snapshots;
    std::shared_ptr<Background> background;  // which writes them
    std::unique_ptr<ViewLetters> late;       // none: late = 'drop'
    std::shared_ptr<StateMemory> memory;     // of the dataflow and the tables' rows
  };
  using Positions = std::vector<std::vector<Offset>>;  // by source and partition
  /// `parallel` outlives its epochs.
  View(io::Env& env, const Flows::Options& options, Parallel& parallel, Parts parts);
  ~View() override;

  /// Cuts what no commit follows off the changelog and holds the inputs; then a lane may run it.
  /// `wake` wakes the lane, from any thread.
  Result<> open(io::Gate& gate, std::function<void()> wake);
  /// Finishes what is on its way to the disk. No lane may run it any more. `to_stay`: it will come
  /// back, soonest from a snapshot that is taken now if that is cheap.
  void close(bool to_stay);
  /// After close(), of a view that is dropped.
  void forget();

  std::optional<Clock::time_point> run() override;

  /// As the catalog had it when the view was started; a replacement has the name of what it
  /// replaces.
  const catalog::Object& object() const { return object_; }
  /// Tells it from every other view, where it holds its inputs and listens to them.
  std::string who() const;
  /// A replacement is the view of its name from now on.
  void take_place() { in_place_ = rename_metrics_ = true; }
  bool in_place() const { return in_place_; }
  const std::vector<ViewSource>& sources() const { return sources_; }
  std::string describe() const;
  const ViewRows& rows() const { return rows_; }

  /// Until the epochs of the changelog were computed again. Errors: why the view stopped;
  /// kCancelled at the deadline.
  Result<> wait_recovered(Clock::time_point deadline) const;
  /// Until what `targets` names (offsets by source and partition) has been taken in and is shown.
  Result<> wait_shown(const Positions& targets, Clock::time_point deadline) const;
  /// It computes what comes, not what has come before.
  bool is_live() const;
  /// Its state was no good: a view that is started in its place does without it.
  bool starts_again() const { return starts_again_; }
  /// A paused view takes in nothing, and shows what it has.
  void set_paused(bool paused) { paused_ = paused; }
  bool paused() const { return paused_; }
  /// Records that its inputs hold and it has not taken in.
  int64_t lag() const;
  ViewStatus status() const;

 private:
  /// An epoch that was computed and is not shown yet.
  struct Computed {
    Positions positions;  // after it, by source
    DeltaStream rows = {};
    std::vector<FailedRow> failed = {};
    std::vector<FailedRow> late = {};
    int64_t clock_us = 0;
    uint64_t epoch = 0;
    bool durable = false;
    Offset commit = 0;  // once it is durable: the offset of its commit; 0: not written
  };

  Result<> cut_torn_tail();
  Result<> begin();
  Result<Commit> first_commit();
  Result<> start_at_first_commit();
  void start_at(const Positions& from);
  Result<> hold(const Positions& from);

  /// Where the view stood when a snapshot was taken: after `epoch`, whose commit ends before
  /// `changelog`.
  struct SnapshotHead {
    Epoch epoch;
    Offset changelog = 0;
    Positions positions;
  };
  /// A snapshot on its way to the disk: a lane saves, the background writes.
  struct SnapshotWrite {
    SnapshotWrite(Background& writer, std::function<void()> wake);
    SnapshotHead head;
    std::function<void(StateWriter&)> rows;  // frozen
    std::unique_ptr<SnapshotDraft> file;     // the background's
    std::atomic<size_t> waiting = 0;         // blocks that wait to be written
    StateWriter out;                         // the lane's
    bool saved = false;                      // all that it has to give, the rows apart
    Clock::duration pause{};                 // of the view, the longest
    Clock::duration saving{};                // all of the lane's
    Clock::duration took{};                  // once done: the background
    std::atomic<bool> done = false;
    std::optional<Result<uint64_t>> outcome;  // once done: the file's bytes
  };
  std::string fingerprint() const;
  void save_head(const SnapshotHead& head, StateWriter& out) const;
  Result<SnapshotHead> load_head(StateReader& in) const;
  Result<SnapshotHead> usable_head(uint64_t epoch) const;
  void find_snapshots();
  void give_up_snapshot(uint64_t epoch, const Error& why);
  Result<> restore();
  Result<> restore_from(const SnapshotHead& head);
  bool snapshot_due(Clock::time_point now) const;
  /// False while epochs are on their way to the disk.
  bool ready_for_snapshot();
  void take_snapshot();
  /// Saves for some milliseconds of what the snapshot has frozen.
  void save_some();
  void finish_snapshot(const std::shared_ptr<SnapshotWrite>& write);
  bool is_saving() const { return snapshot_under_way_ && !snapshot_under_way_->saved; }
  Result<> end_snapshot();
  void abandon_snapshot();
  bool saves_at_close() const;
  void await_snapshot() const;
  void save_last();
  /// Whether it must not take in more; tells when that turns.
  bool is_full();
  size_t state_bytes() const;

  /// A commit read back, and the row records that stood before it.
  struct Replayed {
    Commit commit;
    size_t rows;
    size_t rows_again;  // that computing it again has given
  };

  Result<std::optional<Clock::time_point>> advance();
  Result<> replay_some();
  Result<> read_commits();
  Result<size_t> replay(EpochInputs& epoch);
  void recovered();
  Result<std::optional<Clock::time_point>> live();
  InputRanges next_ranges() const;
  void begin_added_partitions();
  bool take_ranges(const ViewSource& source, InputRanges& ranges) const;
  Result<> compute(InputRanges ranges);

  /// What an epoch read of one source.
  struct Read {
    size_t source;
    std::vector<Source::Cursor> cursors;  // one a range
  };
  /// What watermarks are is decided in a live epoch, which writes it down, and taken from there
  /// when it is computed again.
  enum class Pass { kLive, kReplay };
  Result<DeltaStream> step(EpochInputs& epoch, Pass pass);
  Result<std::vector<Read>> read(const InputRanges& ranges);
  Result<Read> plan_read(size_t source, const std::vector<OffsetRange>& ranges) const;
  void feed(const std::vector<Read>& reads, std::vector<DeltaStream>& streams);
  void feed_watermarks(const std::vector<Read>& reads, EpochInputs& epoch, Pass pass,
                       std::vector<DeltaStream>& streams);
  void feed_bounds(size_t source, const Read* read, std::vector<DeltaStream>& streams);
  void observe_rows(ViewSource& source, const Read& read, int64_t clock_us);
  void excuse_unread(ViewSource& source, const Read* read, int64_t clock_us);
  /// The clock of the next epoch: it never falls.
  int64_t clock_us();
  /// The clock at which an epoch has something to do though no row comes; nullopt: none.
  std::optional<int64_t> next_moment() const;
  std::optional<Clock::time_point> wait_for_moment(std::optional<int64_t> moment);
  bool needs_commit() const;
  Positions positions() const;

  Result<std::vector<FailedRow>> failed_rows(std::vector<RowError> errors);
  /// The last epoch's late rows, for their topic.
  Result<std::vector<FailedRow>> late_rows();
  void commit(DeltaStream rows, std::vector<FailedRow> failed, std::vector<FailedRow> late = {});
  Result<> show_durable();
  Result<> show(Computed& epoch);
  void fail(Error error);
  void report();
  static int64_t sum_of(const Positions& positions);
  void report_snapshot(uint64_t bytes, Clock::duration pause);

  io::Env& env_;
  const Flows::Options options_;
  Parallel& parallel_;
  const catalog::Object object_;
  const size_t shares_;
  const std::unique_ptr<Dataflow> dataflow_;
  std::vector<ViewSource> sources_;
  std::vector<ViewInput> inputs_;
  const std::shared_ptr<broker::Partition> changelog_;
  const std::unique_ptr<ChangelogWriter> writer_;
  const std::unique_ptr<ViewLetters> letters_;
  const std::unique_ptr<ViewLetters> late_letters_;
  const bool is_sink_;  // which nobody reads with SELECT: it keeps no rows
  std::shared_ptr<CommitQueue> commits_;
  const std::shared_ptr<SnapshotFiles> snapshot_files_;
  const std::shared_ptr<Background> background_;
  std::function<void()> wake_;
  const std::shared_ptr<StateMemory> memory_;
  ViewRows rows_;
  const int64_t allowed_lateness_us_;

  std::atomic<bool> paused_ = false;
  std::atomic<bool> full_ = false;  // it waits for memory
  std::atomic<bool> in_place_ = false;
  std::atomic<bool> rename_metrics_ = false;
  std::atomic<bool> starts_again_ = false;
  int64_t origin_ = 0;  // sum of the positions where it began
  // Of the lane that runs it.
  Epoch last_epoch_;
  ColumnBounds bounds_;         // of its own columns, as they were written
  std::vector<LateRows> late_;  // of the last epoch
  int64_t late_seen_us_ = 0;
  bool stepping_ = false;  // an epoch has begun to change the state, and has not ended
  Clock::time_point last_start_{};
  bool restored_ = false;
  std::deque<SnapshotHead> snapshots_;  // on disk, the newest first
  std::shared_ptr<SnapshotWrite> snapshot_under_way_;
  Clock::time_point snapshot_at_{};  // when the last was begun
  Clock::duration snapshot_time_{};  // that it took, in all
  size_t rows_since_snapshot_ = 0;
  size_t rows_in_snapshot_ = 0;  // that it had taken in since it runs
  uint64_t epochs_since_snapshot_ = 0;
  Offset committed_until_ = 0;  // of the changelog, what is shown
  Offset replay_at_ = 0;
  Offset replay_end_ = 0;
  std::deque<Replayed> to_replay_;
  size_t replayed_ = 0;  // epochs of the first of them
  size_t rows_since_commit_ = 0;
  std::vector<EpochInputs> uncommitted_;  // computed, without output
  Clock::time_point uncommitted_since_{};
  std::deque<Computed> computed_;

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool recovered_ = false;
  bool closed_ = false;
  std::optional<Error> error_;
  Positions shown_;    // positions that rows_ reflects
  ViewStatus status_;  // what the lane last reported

  struct Instruments;
  std::unique_ptr<Instruments> instruments_;
};

}  // namespace millrace::flow

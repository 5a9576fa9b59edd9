#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/io/gate.h"
#include "base/io/signal.h"
#include "base/io/turn.h"
#include "log/detail/cleaner.h"
#include "log/detail/compaction.h"
#include "log/detail/dedup.h"
#include "log/detail/producers.h"
#include "log/detail/segment.h"
#include "log/partition_log.h"

namespace millrace::log::detail {

/// The log of PartitionLog::open().
///
/// Two background tasks work on it, each alive only while there is work. The writer takes all that
/// queues, assigns offsets, and writes it with one write. The syncer makes all that is written
/// durable with one fdatasync; meanwhile the writer goes on. What is written and not yet synced
/// stands in `unsynced_` with all that is needed to undo it.
class PartitionLogImpl final : public PartitionLog {
 public:
  PartitionLogImpl(io::Env& env, io::Shard& shard, std::string path, LogConfig config);
  ~PartitionLogImpl() override;
  io::Task<Result<>> load();

  io::Task<Result<AppendResult>> append(OwnedBytes batches, Ack ack) override;
  io::Task<Result<ReadResult>> read(Offset from, size_t bytes_max, Isolation isolation) override;
  io::Task<Result<ReadResult>> fetch(Offset from, size_t bytes_max, Isolation isolation) override;
  io::Task<Result<AppendResult>> append_marker(TransactionMarker marker) override;
  io::Task<bool> wait_past(Offset offset, std::chrono::steady_clock::time_point deadline,
                           Isolation isolation) override;
  Offset start_offset() const override { return start_offset_; }
  Offset high_watermark() const override { return high_watermark_; }
  Offset last_stable_offset() const override;
  /// How far a reader may read.
  Offset readable(Isolation isolation) const {
    return isolation == Isolation::kCommitted ? last_stable_offset() : high_watermark_;
  }
  Offset end_offset() const override { return end_offset_; }
  uint64_t size_bytes() const override;
  io::Task<Result<TimeOffset>> offset_for_time(TimestampMs timestamp) override;
  io::Task<Result<TimeOffset>> max_timestamp() override;
  io::Task<Result<>> enforce_retention() override;
  io::Task<Result<>> compact(CompactionContext context) override;
  io::Task<Result<>> delete_records(Offset offset) override;
  io::Task<Result<>> truncate_to(Offset offset) override;
  void hold(const std::string& who, std::optional<Offset> from) override;
  void reconfigure(const LogConfig& config) override;
  std::vector<ProducerEntry> producers() const override { return producers_.entries(); }
  io::Task<Result<>> close() override;

 private:
  /// One append that waits; lives in the frame of its append().
  struct Pending {
    OwnedBytes batches;
    std::vector<BatchHeader> headers;  // empty: a roll is asked for, nothing is appended
    std::optional<TransactionMarker> marker;
    std::vector<bool> repeated;  // headers that were appended before; empty: none
    Ack ack = Ack::kDurable;
    AppendResult answer;
    std::optional<Result<AppendResult>> result;
    std::coroutine_handle<> waiter = nullptr;
  };
  struct Enqueue;
  /// What one write wrote.
  struct Group {
    std::vector<Pending*> waiting;  // for its sync
    Offset end = 0;                 // of the log, after it
    uint64_t position = 0;          // of the active segment's end, after it
    // How the log was before it:
    Offset end_before = 0;
    Segment::Mark mark;
    Producers::Undo producers;
  };
  /// A transaction whose marker is not visible yet.
  struct Ended {
    Offset first_offset = -1;
    Offset marker = -1;
  };
  /// Where a reader that reads on will go on.
  struct Cursor {
    Offset offset = -1;
    Offset segment = -1;
    uint64_t position = 0;
  };

  // read.cc
  Segment& active() { return *segments_.back(); }
  Segment& segment_of(Offset offset);
  /// How far `segment` may be read.
  uint64_t visible(const Segment& segment) const;
  Offset end_of(const Segment& segment) const;
  io::Task<Result<bool>> read_segment(Segment& segment, Offset from, size_t bytes_max,
                                      ReadResult& out);
  void unload_others(const Segment& keep);

  // fetch.cc
  struct Span;
  std::optional<uint64_t> batch_with(const Segment& segment, Offset from,
                                     const io::SharedFile& file) const;
  std::optional<Span> span_of(const Segment& segment, Offset from, size_t bytes_max, Offset upper,
                              const io::SharedFile& file);
  Cursor* cursor_at(const Segment& segment, Offset from);

  // transactions.cc
  Result<> end_transaction(const TransactionMarker& marker, Offset offset, Producers::Undo& undo);
  static void replay(const BatchHeader& header, std::string_view batch, TimestampMs now,
                     Producers& producers, AbortedIndex* aborted);
  io::Task<Result<Producers>> producers_at(Offset base);
  io::Task<Result<>> load_aborted(Segment& segment);
  io::Task<Result<std::vector<AbortedTransaction>>> find_aborted(Offset from, Offset upper);
  io::Task<Result<>> keep_committed(Offset from, Offset upper, ReadResult& out);

  // append_unique.cc
  io::Task<Result<AppendResult>> append_unique(std::string batches, Ack ack);
  io::Task<Result<>> recall_dedup();

  // writer.cc
  io::Task<Result<AppendResult>> append_all(OwnedBytes batches, Ack ack);
  io::Task<Result<AppendResult>> queued(Pending& pending);
  void wake_writer();
  io::Task<void> write_queued();
  io::Task<Result<>> ready_to_write();
  io::Task<Result<>> undo_unsynced();
  std::vector<Pending*> take_queued();
  io::Task<void> write_group(std::vector<Pending*> taken);
  io::Task<void> write_ahead(uint64_t written);
  io::Task<Result<>> cut_file();
  void settle(Group group);
  Group assign(const std::vector<Pending*>& taken, std::vector<std::string_view>& parts);
  void stamp(Pending& pending, std::vector<std::string_view>& parts);
  Result<> place(Pending& pending, Group& group, std::vector<std::string_view>& parts);
  Result<> take_sequences(Pending& pending, Producers::Undo& undo);
  void undo(const Group& group);
  io::Task<void> sync_written();
  io::Task<void> gather();
  void advance(Offset high_watermark, uint64_t position);
  void refuse(Pending& pending, const Error& why);
  void finish(Pending& pending, Result<AppendResult> result);
  io::Task<void> until_idle();
  /// Begins a new segment unless the last one is empty.
  io::Task<Result<>> request_roll();

  // roll.cc
  bool must_roll(size_t more_bytes) const;
  io::Task<Result<>> roll();
  Result<> add_segment(Offset base);
  io::Task<Result<>> save_producers();
  io::Task<bool> read_producers(Offset base, Producers& producers);
  io::Task<Result<>> save_clean();
  io::Task<Result<bool>> load_clean(const std::vector<std::string>& names);
  io::Task<Result<>> recover();
  io::Task<Result<>> recover_tail();
  io::Task<void> note_synced(Durable durable);
  io::Task<Durable> load_synced(const Segment& last);
  void report_damage(const Segment& last, const Durable& durable);
  void report_corrupt(const Segment& segment, uint64_t position);
  Result<> save_start(Offset start);
  Result<> load_start();
  void sweep(const std::vector<std::string>& names);

  // retention.cc
  Result<> drop_oldest();
  void close_idle_files();
  Offset keep_from() const;
  io::Task<Result<TimeOffset>> find_timestamp(Offset from, TimestampMs timestamp);
  io::Task<Result<TimeOffset>> scan_max_timestamp();

  // compaction.cc
  struct Pass;
  io::Task<Result<>> compact_in_turn(const CompactionContext& context);
  Dirty find_dirty() const;
  io::Task<Result<Cleaner>> make_cleaner(Dirty dirty);
  io::Task<Result<>> clean_segments(Dirty dirty, const CompactionContext& context);
  io::Task<Result<bool>> note_dirty(Pass& pass, std::span<Segment* const> sources);
  io::Task<Result<bool>> clean_group(Pass& pass, std::span<Segment* const> group, Offset end);
  io::Task<Result<bool>> clean_segment(Pass& pass, Segment& source, io::File& file, Segment& fresh);
  io::Task<Result<>> begin_swap(std::span<Segment* const> group, std::unique_ptr<Segment> fresh,
                                Offset end);
  io::Task<Result<>> finish_swap();
  Result<> save_compacted(Offset clean_to, Offset gaps_to);
  Result<> load_compacted();

  io::Env& env_;
  io::Shard& shard_;
  std::string path_;
  LogConfig config_;
  std::deque<std::unique_ptr<Segment>> segments_;  // never empty once the first append came
  Offset start_offset_ = 0;
  Offset end_offset_ = 0;
  Offset high_watermark_ = 0;
  uint64_t visible_position_ = 0;  // of the high watermark, in the active segment
  Producers producers_;
  std::map<std::string, Offset> holds_;
  std::array<Cursor, 4> cursors_;
  size_t next_cursor_ = 0;

  std::deque<Pending*> queue_;
  std::deque<Group> unsynced_;
  std::deque<Ended> ended_;  // in the order of the markers
  bool writing_ = false;
  bool syncing_ = false;
  size_t synced_together_ = 0;                       // appends that the last sync served
  std::chrono::steady_clock::duration sync_time_{};  // of late, smoothed
  bool roll_begun_ = false;                          // and must end before the next append
  Offset noted_base_ = -1;                           // what the file `synced` says
  uint64_t noted_position_ = 0;
  TimestampMs noted_ms_ = 0;
  std::set<std::pair<Offset, uint64_t>> reported_corrupt_;
  uint64_t ahead_ = 0;       // where the zeros end that stand after the active's batches; 0: none
  bool tail_dirty_ = false;  // bytes of a failed write may stand after the active's end
  std::optional<Error> sync_failed_;  // what is unsynced is lost, and not undone yet
  bool clean_on_disk_ = false;        // the clean file tells the truth
  bool closing_ = false;

  Offset end_seen_ = -1;  // by the retention before

  // Deduplication.
  io::Turn dedup_turn_;
  io::Signal dedup_settled_;            // an append's outcome is known
  std::shared_ptr<DedupWindow> dedup_;  // made by the first append

  // Compaction.
  io::Turn cleaning_;
  Offset clean_to_ = 0;                            // what is before it was compacted
  Offset gaps_to_ = 0;                             // before it, offsets may be missing
  std::optional<Swap> swap_;                       // begun, and not finished
  std::vector<std::unique_ptr<Segment>> retired_;  // made way, and are still read
  bool uncleanable_ = false;                       // a damaged batch: left as it is

  io::Gate gate_;
  io::Signal moved_;    // the high watermark
  io::Signal idle_;     // the writer or the syncer has ended
  io::Signal written_;  // something was added to `unsynced_`

  Metrics::Counter& appended_bytes_;
  Metrics::Counter& appended_records_;
  Metrics::Counter& writes_;
  Metrics::Counter& corrupt_batches_;
  Metrics::Histogram& sync_seconds_;
  Metrics::Counter& compactions_;
  Metrics::Counter& compaction_bytes_before_;
  Metrics::Counter& compaction_bytes_after_;
};

}  // namespace millrace::log::detail

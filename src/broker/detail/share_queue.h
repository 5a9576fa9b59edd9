#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/io/turn.h"
#include "broker/detail/share_partition.h"
#include "broker/journal.h"
#include "broker/share_groups.h"

namespace millrace::broker::detail {

/// What is counted of all share groups.
class ShareCounters {
 public:
  explicit ShareCounters(Metrics& metrics);
  void acquired(const ShareAcquired& range);
  void acknowledged(const ShareAcknowledgement& told);

 private:
  Metrics::Counter& acquired_;
  Metrics::Counter& redelivered_;
  Metrics::Counter& accepted_;
  Metrics::Counter& released_;
  Metrics::Counter& rejected_;
};

/// What all share groups of a node share. Any shard.
struct ShareShared {
  io::Runtime& runtime;
  io::Env& env;
  Broker& broker;
  const GroupConfigs& configs;
  std::unique_ptr<Journal> journal;
  std::atomic<int> sessions{0};
  ShareCounters counters{env.metrics()};
};

/// A write to the journal.
struct SharePut {
  bool done = false;
};

/// One partition served to one share group: its records' states, what is read of its log, those
/// who wait for it. Lives on the group's shard. What changes the states leaves changes behind,
/// which the group writes to the journal.
class ShareQueue : public std::enable_shared_from_this<ShareQueue> {
 public:
  ShareQueue(ShareShared& shared, io::Shard& home, std::string group, SharePartitionId id,
             Offset start);

  const SharePartitionId& id() const { return id_; }
  SharePartition& records() { return records_; }
  ShareLimits limits() const;
  /// Null when the topic, or the partition, does not exist.
  const std::shared_ptr<Partition>& partition() const { return partition_; }

  /// Finds the partition, and hears of what is appended to it. Errors: kUnknownTopicId,
  /// kUnknownPartition.
  Result<> attach();
  /// Hears no more.
  void detach();
  /// Where the group begins, by its options. Errors: those of Partition::offset_for_time().
  io::Task<Result<Offset>> first_offset();

  /// Acquires for a member that is logged in as `user` what there is into `part`, up to
  /// `bytes_max` (one batch may be more).
  io::Task<Result<>> acquire(SharePartition::Acquire how, std::string user, size_t bytes_max,
                             ShareFetched::Part& part);
  /// Time passes. True: those who wait should look.
  bool tick();
  bool has_dying() const { return !records_.dying(1).empty(); }
  /// Writes the letters of the dying records, durably, and archives them. Errors: kIo, kDiskFull.
  io::Task<Result<>> bury();

  /// The last write that had changes of this queue; null: none yet.
  std::shared_ptr<SharePut> last_put;
  /// What the journal must learn; empty when nothing has changed.
  std::vector<Journal::Entry> take_changes();
  /// What was taken did not get there: the next changes say everything anew.
  void not_written() {
    rewrite_ = true;
    ++failures_;
  }
  /// Grows with each not_written(): updates that were written meanwhile may hang on a snapshot that
  /// was not.
  uint64_t failures() const { return failures_; }
  /// From the journal, in any order; then restore().
  void loaded(uint32_t slot, std::optional<std::string_view> bytes);
  /// False: the journal does not know the queue any more.
  bool restore();
  /// Makes the journal forget.
  std::vector<Journal::Entry> tombstones() const;
  /// Begins anew at `start`.
  void reset(Offset start);

  /// `waiter` is woken when there may be something and its turn has come.
  void wait(std::shared_ptr<ShareWaiter> waiter);
  /// Wakes who has waited longest.
  void wake();
  void wake_all();
  /// wake(), if there is something to acquire.
  void wake_if_news();
  /// What is behind start() and not done with; -1 when the partition is not there.
  int64_t lag() const;

 private:
  Result<> check_transforms(std::string_view user) const;
  bool committed() const;
  Offset end_of_log() const;
  io::Task<Result<>> bury_range(ShareRange range, std::shared_ptr<Partition> letters);

  ShareShared& shared_;
  io::Shard& home_;
  const std::string group_;
  const SharePartitionId id_;
  SharePartition records_;
  std::shared_ptr<const Topic> topic_;
  std::shared_ptr<Partition> partition_;
  bool delayed_ = false;  // records may say when they are to be delivered
  bool letters_ = false;  // what is given up goes to the dead-letter topic
  io::Turn turn_;         // of acquire()
  io::Turn burying_;
  size_t record_bytes_ = 1024;  // a guess, from what was read last
  uint64_t epoch_ = 0;          // of the snapshot
  uint32_t slot_ = 0;           // the last update's; 0: none since the snapshot
  uint32_t slots_used_ = 0;
  bool rewrite_ = true;  // the next changes are a snapshot
  uint64_t failures_ = 0;
  std::map<uint32_t, std::string> loaded_;
  std::deque<std::shared_ptr<ShareWaiter>> waiters_;  // in the order in which they came
  /// Whether anybody waits: the log's shard looks before it posts.
  const std::shared_ptr<std::atomic<bool>> awaited_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace millrace::broker::detail

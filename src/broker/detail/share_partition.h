#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "broker/share_groups.h"

namespace millrace::broker::detail {

/// What a share group knows of a record. Source: KIP-932; kDying is ours: no consumer gets the
/// record any more, and its dead letter is not yet written.
enum class RecordState : uint8_t {
  kAvailable = 0,
  kAcquired = 1,
  kAcknowledged = 2,
  kDying = 3,
  kArchived = 4,
};

/// Offsets first..last of which the same is known.
struct ShareRange {
  Offset first = 0;
  Offset last = 0;
  RecordState state = RecordState::kAvailable;
  int16_t deliveries = 0;
  bool operator==(const ShareRange&) const = default;
};

/// What changed in a share partition, as it is kept: absolute, so that it may be applied again.
/// Acquired and dying records are kept as available ones.
struct ShareDelta {
  Offset start = 0;
  std::vector<ShareRange> ranges;  // by offset
};

/// One record batch as acquire() needs it; spans come in the order of their offsets.
struct ShareSpan {
  Offset first = 0;
  Offset last = 0;
  bool passed_over = false;  // control records, aborted ones, offsets without a record
  std::vector<std::pair<Offset, TimestampMs>> deliver_at = {};  // of its records that are delayed
  size_t begin = 0;  // where the batch is in what was read
  size_t bytes = 0;
  bool taken = false;  // out: at least one of its records was acquired
};

struct ShareLimits {
  int32_t deliveries = 5;     // a record that was delivered so often and is released is given up
  int64_t in_flight = 2000;   // records that are acquired, or wait to be delivered again
  int64_t delayed = 100'000;  // records whose time has not come
  bool letters = false;       // what is given up or rejected is dying first
};

/// The records of one partition as one share group sees them: a step machine without I/O; time is
/// told to it. What is before start() is done with; what is at or past end() was never looked at;
/// between them every offset has a state, kept as runs of equal ones.
class SharePartition {
 public:
  explicit SharePartition(Offset start) : start_(start), end_(start) {}

  Offset start() const { return start_; }
  Offset end() const { return end_; }
  /// Records between start and end that are done with.
  int64_t done_count() const { return done_; }

  // ---- consumers

  /// The first record that can be acquired: one that waits, or the next of the log; nullopt when
  /// as many are in flight as may be.
  std::optional<Offset> next_fetch(const ShareLimits& limits) const;

  struct Acquire {
    uint64_t member = 0;
    int64_t now = 0;
    int64_t lock_ms = 0;
    int64_t records_max = 0;
    bool strict = false;  // else the last batch is acquired to its end
  };
  /// Acquires what is available of `spans` (which begin at or before next_fetch()), and marks the
  /// spans that it took from. Ranges by offset.
  std::vector<ShareAcquired> acquire(const Acquire& how, std::vector<ShareSpan>& spans,
                                     const ShareLimits& limits);

  /// All acknowledgements or none. Errors: kInvalidArgument (they make no sense),
  /// kInvalidRecordState (a record is not acquired by this member).
  Result<> acknowledge(uint64_t member, int64_t now, int64_t lock_ms, bool renews,
                       const std::vector<ShareAcknowledgement>& acknowledgements,
                       const ShareLimits& limits);

  /// Everything that the member has acquired is available again; its deliveries count, as in Kafka.
  /// True: something was.
  bool release(uint64_t member, const ShareLimits& limits);

  // ---- time

  /// Lets go of what was locked until `now`, and lets those through whose time has come. True:
  /// something may be acquired, or is dying.
  bool tick(int64_t now, const ShareLimits& limits);
  /// When tick() has something to do.
  std::optional<int64_t> next_event() const;

  // ---- the log and the dead

  /// Records before `offset` exist no more.
  void log_start(Offset offset);
  /// Records that wait for their dead letter, at most `count_max`.
  std::vector<ShareRange> dying(size_t count_max) const;
  /// Their letters are written.
  void archive(Offset first, Offset last);

  // ---- durability

  bool has_changes() const { return !touched_.empty() || start_ != told_start_; }
  /// What has changed since the last take_changes() or snapshot().
  ShareDelta take_changes();
  /// Everything.
  ShareDelta snapshot();
  /// Applies what was taken once. Before anything else.
  void apply(const ShareDelta& delta);
  /// After the last apply(): records that were delivered as often as they may are given up.
  void restored(const ShareLimits& limits);

  size_t run_count() const { return runs_.size(); }
  /// What is known of an offset between start and end; for tests.
  ShareRange at(Offset offset) const;

 private:
  struct Run {
    Offset last = 0;
    RecordState state = RecordState::kAvailable;
    int16_t deliveries = 0;
    uint64_t member = 0;  // of acquired ones
    int64_t until = 0;    // acquired: the lock's end; available: 0, or when its time comes
    bool same_as(const Run& other) const {
      return state == other.state && deliveries == other.deliveries && member == other.member &&
             until == other.until;
    }
  };
  using Runs = std::map<Offset, Run>;
  enum class Keep { kDurably, kInMemory };

  void link(Runs::const_iterator at);
  void unlink(Runs::const_iterator at);
  Runs::iterator insert(Offset first, Run run);
  Runs::iterator erase(Runs::iterator at);
  /// Makes a run begin at `at`, if any contains it.
  void split(Offset at);
  void set(Offset first, Offset last, Run run, Keep keep = Keep::kDurably);
  void merge(Runs::iterator at);
  void touch(Offset first, Offset last);
  /// Offsets up to `last` are known: those that were not are available.
  void extend(Offset last);
  void advance_start();
  void let_go(Offset first, const Run& run, const ShareLimits& limits);
  void give_up(Offset first, const Run& run, const ShareLimits& limits);
  void pass_over(Offset first, Offset last);
  void delay(const ShareSpan& span, int64_t now);
  bool take_span(const Acquire& how, ShareSpan& span, const ShareLimits& limits, int64_t& count,
                 std::vector<ShareAcquired>& out);
  Result<> check(uint64_t member, bool renews,
                 const std::vector<ShareAcknowledgement>& acknowledgements) const;
  void acknowledge_run(Offset first, Offset last, int8_t type, int64_t until,
                       const ShareLimits& limits);
  ShareRange durable(Offset first, Offset last, const Run& run) const;

  Offset start_;
  Offset end_;
  Offset told_start_ = -1;  // in the last changes taken
  Runs runs_;               // covers start_ to end_ without gaps
  std::set<Offset> ready_;  // first offsets of available runs whose time has come
  std::set<std::pair<int64_t, Offset>> timers_;  // first offsets of runs with `until`
  std::set<Offset> dying_;
  std::map<Offset, Offset> touched_;  // first to last; may overlap
  int64_t in_flight_ = 0;
  int64_t delayed_ = 0;
  int64_t done_ = 0;
};

}  // namespace millrace::broker::detail

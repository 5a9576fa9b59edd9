#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "broker/groups.h"
#include "broker/journal.h"

namespace millrace::broker::detail {

using Clock = std::chrono::steady_clock;

/// What a group of any type is to the registry (GroupsImpl), which keeps its offsets and its time.
/// A step machine: events and the time in; answers and what to write out. No I/O. Lives on the home
/// shard, held by the registry and by what is being written for it.
///
/// After every call that is not const, but check_commit(), the registry asks take_writes() and
/// deadline().
class Group {
 public:
  virtual ~Group() = default;
  virtual GroupType type() const = 0;
  /// Whether it has no members: then it may be removed, or become of another type.
  virtual bool empty() const = 0;
  /// Whether nothing would be lost with it: no members, and nothing in the journal but offsets.
  virtual bool idle() const { return false; }

  /// Whether `caller` may commit offsets, and tells the group that it lives. `transactional`: as
  /// part of a transaction, where an older client says nothing of its membership.
  virtual Result<> check_commit(const GroupCaller& caller, bool transactional,
                                Clock::time_point now) = 0;
  /// Whether `caller` may fetch offsets.
  virtual Result<> check_fetch(const GroupCaller& caller) const = 0;
  /// Whether members are subscribed to `topic`; nullopt: they are in a way that the broker cannot
  /// read.
  virtual std::optional<bool> subscribed(std::string_view topic) const = 0;
  /// Since when the retention of an offset of `topic`, committed at `committed`, counts; nullopt:
  /// it does not, members need it.
  virtual std::optional<TimestampMs> retention_start(std::string_view topic,
                                                     TimestampMs committed) const = 0;

  /// Fills in all but id, type and offsets.
  virtual void describe(GroupInfo& out) const = 0;
  /// Removes members for an admin, or because they leave; one outcome each.
  virtual std::vector<Result<>> leave(const std::vector<LeavingMember>& members,
                                      Clock::time_point now) = 0;

  /// When tick() has something to do; nullopt: never, as things stand. Deadlines that only moved
  /// later need not be told.
  virtual std::optional<Clock::time_point> deadline() const = 0;
  /// Does what is due: removes members that were not heard of, ends rebalances.
  virtual void tick(Clock::time_point now) = 0;

  /// Entries that must be written as one batch; `done` hears the outcome.
  struct Write {
    std::vector<Journal::Entry> entries;
    std::move_only_function<void(const Result<>&)> done;  // may be empty
  };
  virtual std::vector<Write> take_writes() = 0;
  /// Entries that make the journal forget the group (not its offsets).
  virtual std::vector<Journal::Entry> tombstones() const = 0;

  /// Answers all that wait with `why`: the node stops, or the group ends.
  virtual void refuse_all(const Error& why) = 0;
};

}  // namespace millrace::broker::detail

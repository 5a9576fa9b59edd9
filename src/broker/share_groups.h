#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "broker/group_configs.h"

namespace millrace::broker {

/// A partition, by the id of its topic.
struct SharePartitionId {
  Uuid topic;
  int32_t partition = 0;
  auto operator<=>(const SharePartitionId&) const = default;
};

/// Which partitions a member of a share group is to fetch from.
using ShareAssignment = std::map<Uuid, std::vector<int32_t>>;

struct ShareHeartbeat {
  std::string group;
  std::string member;
  int32_t epoch = 0;  // 0 joins, -1 leaves
  std::optional<std::string> rack;
  std::optional<std::vector<std::string>> topics;  // nullopt: as before
  std::string client_id;
  std::string client_host;
};
struct ShareHeartbeatAnswer {
  int32_t epoch = 0;
  int32_t interval_ms = 0;
  std::optional<ShareAssignment> assignment = {};  // nullopt: as before
};

/// What a consumer says of the records first..last (inclusive). Source: KIP-932, KIP-1222.
struct ShareAcknowledgement {
  enum Type : int8_t { kGap = 0, kAccept = 1, kRelease = 2, kReject = 3, kRenew = 4 };
  Offset first = 0;
  Offset last = 0;
  std::vector<int8_t> types;  // one for all, or one for each offset; bytes from outside
};

/// A range of records that a fetch has acquired for its member.
struct ShareAcquired {
  Offset first = 0;
  Offset last = 0;
  int16_t delivery_count = 0;
};

/// What a request says of one partition.
struct SharePart {
  SharePartitionId id;
  std::vector<ShareAcknowledgement> acknowledgements;
};

/// A fetch that found nothing and waits for something to acquire. Any thread.
class ShareWaiter {
 public:
  /// `tell` is called by whoever wakes it, on its thread.
  explicit ShareWaiter(std::function<void()> tell) : tell_(std::move(tell)) {}

  /// It should look again. False: it waits no more, and another may be woken in its place.
  bool wake() {
    auto was = State::kWaits;
    if (state_.compare_exchange_strong(was, State::kWoken)) tell_();
    return was != State::kOver;
  }
  bool over() const { return state_ == State::kOver; }
  bool woken() const { return state_ == State::kWoken; }
  /// Looks now, and will wait again.
  void wait_again() { state_ = State::kWaits; }
  /// Ends the wait. False: it was woken meanwhile; it must look once more, since nobody else was.
  bool leave() { return state_.exchange(State::kOver) != State::kWoken; }

 private:
  enum class State : uint8_t { kWaits, kWoken, kOver };
  std::atomic<State> state_{State::kWaits};
  const std::function<void()> tell_;
};

struct ShareFetch {
  std::string group;
  std::string member;
  int32_t epoch = 0;  // of the session: 0 opens it, -1 closes it
  size_t bytes_max = 0;
  int32_t records_max = 0;
  bool record_limit = false;  // records_max is strict (KIP-1206); else whole batches are acquired
  bool renews = false;        // acknowledgements may be renewals, and nothing is fetched (KIP-1222)
  std::vector<SharePart> parts;             // added to the session, or acknowledged
  std::vector<SharePartitionId> forgotten;  // leave the session
  uint64_t connection = 0;                  // names the client's connection, for disconnected()
  std::string user = {};                    // that the connection is logged in as
};

struct ShareFetched {
  struct Part {
    SharePartitionId id;
    std::optional<Error> error;              // of the fetch
    std::optional<Error> acknowledge_error;  // of the acknowledgements
    bool acknowledged = false;               // there were acknowledgements
    std::string batches;                     // whole record batches
    std::vector<ShareAcquired> acquired;
  };
  int32_t lock_ms = 0;
  std::vector<Part> parts;      // with something to tell, in no order
  bool new_connection = false;  // the session has not been this connection's before
};

struct ShareMemberInfo {
  std::string id;
  std::optional<std::string> rack;
  int32_t epoch = 0;
  std::string client_id;
  std::string client_host;
  std::vector<std::string> topics;
  ShareAssignment assignment;
};

/// A share group at one moment.
struct ShareGroupInfo {
  std::string id;
  std::string state;  // Empty, Stable
  int32_t epoch = 0;
  std::vector<ShareMemberInfo> members;
};

/// How far a share group is in one partition.
struct ShareOffset {
  SharePartitionId id;
  Offset start = -1;  // what is before it is done with
  int64_t lag = -1;   // records that are not done with
};

/// Share groups (KIP-932): a partition as a queue, whose records are given to consumers one by one
/// and are acknowledged one by one. What is acknowledged is durable (topic __share_group_state)
/// before it is answered; a record that was given and not acknowledged comes again with its
/// delivery count, after a restart too. A group lives on the shard of its name's hash; all calls:
/// any shard.
///
/// The inside: detail/share_partition.h is the state machine of one partition's records,
/// detail/share_queue.h serves it, detail/share_members.h is the membership,
/// detail/share_group.h puts them together.
class ShareGroups {
 public:
  /// Loads what the journal holds. Errors: kIo, kCorruptRecord.
  static io::Task<Result<std::unique_ptr<ShareGroups>>> open(io::Runtime& runtime, io::Env& env,
                                                             Broker& broker,
                                                             const GroupConfigs& configs);
  virtual ~ShareGroups() = default;
  /// Wakes those who wait, stops timers. No call follows.
  virtual io::Task<void> close() = 0;

  /// Errors: kInvalidArgument, kUnknownMember, kFencedMemberEpoch, kGroupFull, kInvalidGroup.
  virtual io::Task<Result<ShareHeartbeatAnswer>> heartbeat(ShareHeartbeat request) = 0;

  /// Applies the acknowledgements, durably when it answers, and acquires what there is, at once.
  /// When the answer has no part and `waiter` is given, it is woken when there may be something:
  /// those who wait for a partition are served one at a time, first come first. Errors:
  /// kShareSessionNotFound, kInvalidShareSessionEpoch, kShareSessionLimit, kInvalidArgument.
  virtual io::Task<Result<ShareFetched>> fetch(ShareFetch request,
                                               std::shared_ptr<ShareWaiter> waiter) = 0;
  /// Acquires for the same request anew: sessions and acknowledgements are not looked at.
  virtual io::Task<Result<ShareFetched>> fetch_again(ShareFetch request,
                                                     std::shared_ptr<ShareWaiter> waiter) = 0;
  /// Acknowledges without fetching (ShareAcknowledge); `epoch` must not be 0.
  virtual io::Task<Result<ShareFetched>> acknowledge(ShareFetch request) = 0;
  /// Ends the member's session, if it is the connection's: what it has acquired is released.
  virtual io::Task<void> disconnected(std::string group, std::string member,
                                      uint64_t connection) = 0;

  /// All share groups, by id.
  virtual io::Task<std::vector<ShareGroupInfo>> list() = 0;
  /// Errors: kGroupNotFound.
  virtual io::Task<Result<ShareGroupInfo>> describe(std::string group) = 0;
  /// Forgets an empty group and where it was. Errors: kGroupNotFound, kNonEmptyGroup.
  virtual io::Task<Result<>> remove(std::string group) = 0;

  /// Where the group is in every partition that it has begun. Errors: kGroupNotFound.
  virtual io::Task<Result<std::vector<ShareOffset>>> offsets(std::string group) = 0;
  /// Begins partitions anew at offsets (`start`); one outcome each. Errors of the whole:
  /// kGroupNotFound, kNonEmptyGroup.
  virtual io::Task<Result<std::vector<Result<>>>> alter_offsets(
      std::string group, std::vector<ShareOffset> offsets) = 0;
  /// Forgets where the group is in the topics; one outcome each (kUndefinedObject: it has none).
  /// Errors of the whole: kGroupNotFound, kNonEmptyGroup.
  virtual io::Task<Result<std::vector<Result<>>>> delete_offsets(std::string group,
                                                                 std::vector<Uuid> topics) = 0;
};

}  // namespace millrace::broker

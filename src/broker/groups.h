#pragma once

#include <chrono>
#include <limits>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "broker/broker.h"
#include "broker/consumer_group.h"

namespace millrace::broker {

struct TopicPartition {
  std::string topic;
  int32_t partition = 0;
  auto operator<=>(const TopicPartition&) const = default;
};

/// Where a group goes on in a partition, as it last said.
struct CommittedOffset {
  Offset offset = -1;
  int32_t leader_epoch = -1;
  std::string metadata;
  TimestampMs commit_time = -1;
};

/// An offset that a client wants to commit.
struct OffsetToCommit {
  TopicPartition at;
  Offset offset = -1;
  int32_t leader_epoch = -1;
  std::string metadata;
};

/// An offset as fetch() tells it.
struct FetchedOffset {
  TopicPartition at;
  std::optional<CommittedOffset> committed;  // nullopt: none
  bool unstable = false;  // asked for stable ones, and a transaction is about to commit it
};

/// Who speaks. A client that uses a group only to keep offsets has no member id and generation -1.
struct GroupCaller {
  std::string member_id;
  int32_t generation = -1;  // the member's epoch in groups of the consumer protocol
  std::optional<std::string> instance_id;
};

/// By which protocol a group's members are coordinated. Share groups are ShareGroups'.
enum class GroupType { kClassic, kConsumer /* KIP-848 */ };
/// "classic", "consumer"
std::string_view name_of(GroupType type);

struct GroupProtocol {
  std::string name;
  std::string metadata;
};

struct JoinRequest {
  std::string group;
  std::string member_id;
  std::optional<std::string> instance_id;
  std::string client_id;
  std::string client_host;
  std::chrono::milliseconds session_timeout{};
  std::chrono::milliseconds rebalance_timeout{};
  std::string protocol_type;
  std::vector<GroupProtocol> protocols;   // in the member's order of preference
  bool knows_member_id_required = false;  // KIP-394: JoinGroup from version 4
  bool knows_skip_assignment = false;     // KIP-814: JoinGroup from version 9
};

struct JoinAnswer {
  std::optional<Error> error;
  std::string member_id;  // also with kMemberIdRequired
  int32_t generation = -1;
  std::optional<std::string> protocol_type;
  std::optional<std::string> protocol;
  std::string leader;
  bool skip_assignment = false;
  struct Member {
    std::string member_id;
    std::optional<std::string> instance_id;
    std::string metadata;
  };
  std::vector<Member> members;  // for the leader alone
};

struct SyncRequest {
  std::string group;
  GroupCaller caller;
  std::optional<std::string> protocol_type;
  std::optional<std::string> protocol;
  struct Assignment {
    std::string member_id;
    std::string assignment;
  };
  std::vector<Assignment> assignments;  // the leader's
};

struct SyncAnswer {
  std::optional<Error> error;
  std::string protocol_type;
  std::string protocol;
  std::string assignment;
};

struct LeavingMember {
  std::string member_id;  // may be empty with an instance id
  std::optional<std::string> instance_id;
};

/// One member, as SQL, the command line and the admin requests show it.
struct GroupMemberInfo {
  std::string member_id;
  std::optional<std::string> instance_id;
  std::string client_id;
  std::string client_host;
  std::string metadata;                  // of the chosen protocol; classic
  std::string assignment;                // as the leader gave it; classic
  std::vector<TopicPartition> assigned;  // read from `assignment` when the protocol is a consumer's
};

struct GroupOffset {
  TopicPartition at;
  CommittedOffset committed;
  bool pending = false;  // a transaction is about to commit another one
};

/// A group at one moment.
struct GroupInfo {
  std::string id;
  GroupType type = GroupType::kClassic;
  /// Kafka's: Empty, PreparingRebalance, CompletingRebalance, Stable, Dead; in groups of the
  /// consumer protocol Empty, Assigning, Reconciling, Stable, Dead.
  std::string state;
  std::string protocol_type;  // "consumer", "connect", "sr", …; empty: none yet
  std::string protocol;       // the assignor; empty while there is none
  int32_t generation = 0;     // the group's epoch in groups of the consumer protocol
  std::vector<GroupMemberInfo> members;
  std::vector<GroupOffset> offsets;  // by topic and partition; lag: Partition::high_watermark()
};

struct GroupOptions {
  std::chrono::milliseconds session_timeout_min = std::chrono::seconds(6);
  std::chrono::milliseconds session_timeout_max = std::chrono::minutes(30);
  /// How long a new group waits for further members before its first assignment, anew with each
  /// that comes. Kafka's 3 s spare a large application some rebalances at its start and cost every
  /// start of a small one 3 s; members that start together do so within this.
  std::chrono::milliseconds initial_rebalance_delay = std::chrono::milliseconds(250);
  size_t members_max = std::numeric_limits<int32_t>::max();
  size_t metadata_bytes_max = 4096;
  /// How long offsets outlive the group's last member, or their commit when there never was one.
  std::chrono::milliseconds offsets_retention = std::chrono::days(7);
  std::chrono::milliseconds retention_check_interval = std::chrono::minutes(10);
};

/// Groups of clients that share the partitions of topics, and their committed offsets: one registry
/// of group ids, each of one type. What must outlive the node is in the journal
/// "__consumer_offsets" (docs/kafka.md). Lives on one home shard; all calls: any shard.
///
/// The inside: detail/group.h is what every type of group is to the registry, detail/groups_impl.h
/// the registry, detail/group_offsets.h the offsets, detail/classic_group.h the classic protocol,
/// detail/consumer_group.h the consumer protocol (KIP-848).
class Groups {
 public:
  /// Loads what the journal holds. Errors: kIo, kCorruptRecord.
  static io::Task<Result<std::unique_ptr<Groups>>> open(io::Runtime& runtime, io::Env& env,
                                                        Broker& broker, GroupOptions options = {});
  virtual ~Groups() = default;
  /// Answers those who wait, stops timers.
  virtual io::Task<void> close() = 0;

  // ---- offsets; of groups of every type, and of clients without a group's membership

  /// Commits `offsets`, durably when it answers; gives one outcome each, in their order:
  /// success, kUndefinedObject (no such topic), kOffsetMetadataTooLarge. Errors of the whole:
  /// kInvalidGroup, kUnknownMember, kIllegalGeneration, kRebalanceInProgress, kFencedInstance,
  /// kStaleMemberEpoch, those of Journal::put().
  virtual io::Task<Result<std::vector<Result<>>>> commit(std::string group, GroupCaller caller,
                                                         std::vector<OffsetToCommit> offsets) = 0;

  /// The offsets of `wanted`, in that order; nullopt: all that the group has. `require_stable`:
  /// those that a transaction is about to commit are told as unstable. `caller` is checked in
  /// groups of the consumer protocol alone (kUnknownMember, kStaleMemberEpoch). A group that does
  /// not exist has no offsets.
  virtual io::Task<Result<std::vector<FetchedOffset>>> fetch(
      std::string group, GroupCaller caller, std::optional<std::vector<TopicPartition>> wanted,
      bool require_stable) = 0;

  /// One outcome each: kGroupSubscribed. Errors of the whole: kGroupNotFound, kNonEmptyGroup (of a
  /// protocol whose subscriptions are not known).
  virtual io::Task<Result<std::vector<Result<>>>> delete_offsets(
      std::string group, std::vector<TopicPartition> offsets) = 0;

  // ---- for transactions (KIP-98, KIP-447)

  /// Keeps `offsets` until the producer's transaction ends, durably when it answers; results and
  /// errors as commit()'s, and kInvalidProducerEpoch when a newer epoch of the producer has staged
  /// some. What the caller has checked: producer id and epoch are the transactional id's. What it
  /// has made durable before: that a transaction is open, so that finish_transaction() will follow.
  virtual io::Task<Result<std::vector<Result<>>>> stage_offsets(
      int64_t producer_id, int16_t producer_epoch, std::string group, GroupCaller caller,
      std::vector<OffsetToCommit> offsets) = 0;

  /// Ends the producer's transaction in all groups: what it staged becomes committed, or is
  /// dropped; one durable batch. May be repeated; nothing staged is success. An offset that was
  /// committed otherwise after it was staged stays, as in Kafka.
  virtual io::Task<Result<>> finish_transaction(int64_t producer_id, bool commit) = 0;

  // ---- the classic protocol

  /// Answers when the group has its next generation (or refuses). When `gone` is stopped, the
  /// caller does not wait any longer: the answer is kCancelled, the member stays until its session
  /// times out. Errors: kInvalidGroup, kInvalidSessionTimeout, kUnknownMember, kMemberIdRequired,
  /// kFencedInstance, kInconsistentProtocol, kGroupFull, kShuttingDown.
  virtual io::Task<JoinAnswer> join(JoinRequest request, std::stop_token gone) = 0;
  /// Answers when the leader's assignment is known and durable. Errors: kUnknownMember,
  /// kIllegalGeneration, kRebalanceInProgress, kFencedInstance, kInconsistentProtocol.
  virtual io::Task<SyncAnswer> sync(SyncRequest request, std::stop_token gone) = 0;
  /// Errors: kUnknownMember, kIllegalGeneration, kRebalanceInProgress, kFencedInstance.
  virtual io::Task<Result<>> heartbeat(std::string group, GroupCaller caller) = 0;
  /// One outcome each. Works for groups of the consumer protocol too (removal by an admin).
  virtual io::Task<Result<std::vector<Result<>>>> leave(std::string group,
                                                        std::vector<LeavingMember> members) = 0;

  // ---- the consumer protocol (KIP-848)

  /// Joins, goes on or leaves; answers when what has changed by it is durable, and never waits for
  /// other members. Errors: kInvalidArgument, kUnsupportedAssignor, kInvalidRegex, kGroupNotFound
  /// (also: of another protocol, with members), kGroupFull, kUnknownMember, kFencedMemberEpoch,
  /// kFencedInstance, kUnreleasedInstance, those of Journal::put().
  virtual io::Task<Result<ConsumerHeartbeatAnswer>> heartbeat(ConsumerHeartbeat request) = 0;
  /// Errors: kGroupNotFound (also: of another protocol).
  virtual io::Task<Result<ConsumerGroupInfo>> describe_consumer(std::string group) = 0;

  // ---- what there is

  /// All groups, by id, with members and offsets.
  virtual io::Task<std::vector<GroupInfo>> list() = 0;
  /// One group. Errors: kGroupNotFound.
  virtual io::Task<Result<GroupInfo>> describe(std::string group) = 0;
  /// Forgets an empty group and its offsets. Errors: kInvalidGroup, kGroupNotFound, kNonEmptyGroup.
  virtual io::Task<Result<>> remove(std::string group) = 0;
};

}  // namespace millrace::broker

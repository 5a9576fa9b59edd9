#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/consumer_group.h"
#include "broker/detail/group.h"
#include "broker/detail/topics_image.h"

namespace millrace::broker::detail {

class ClassicGroup;

/// A member of a group of the consumer protocol: its subscription, what it should have, what it
/// has.
struct ConsumerMember {
  /// How far it is on its way to its target. Source: KIP-848, MemberState.
  enum class State {
    kStable,      // it has what the group's assignment epoch gives it
    kUnrevoked,   // it was told to give up `revoking` and has not said yet that it did
    kUnreleased,  // it waits for partitions that others have not given up yet
  };

  std::string id;
  std::optional<std::string> instance_id;
  std::optional<std::string> rack_id;
  std::string client_id;
  std::string client_host;
  std::chrono::milliseconds rebalance_timeout{};
  std::vector<std::string> topic_names;  // sorted
  std::string topic_regex;               // empty: none
  std::string assignor;                  // empty: no preference

  int32_t epoch = 0;
  int32_t previous_epoch = 0;  // an answer may be lost: the member may still speak with this one
  State state = State::kStable;
  PartitionSet assigned;  // it may use these
  PartitionSet revoking;  // it may still use these, until it says that it does not
  PartitionSet target;

  /// Of one that speaks the classic protocol, in a group that is going from the one to the other.
  struct Classic {
    std::chrono::milliseconds session_timeout{};
    std::vector<std::pair<std::string, std::string>> protocols;  // name, metadata
    bool operator==(const Classic&) const = default;
  };
  std::optional<Classic> classic;

  bool operator==(const ConsumerMember&) const = default;
};

/// A group of the consumer protocol: members come and go and subscribe (the group's epoch grows),
/// an assignor says who should have what (the assignment epoch follows), and each member is led
/// from what it has to what it should have, by its own heartbeats: a partition is given to nobody
/// before the one who has it says that it no longer does, or is removed.
///
/// Lives on the home shard; see Group for what the registry does. Source: KIP-848.
class ConsumerGroup final : public Group {
 public:
  using Topics = std::shared_ptr<const TopicsImage>;

  explicit ConsumerGroup(std::string id, size_t members_max = std::numeric_limits<int32_t>::max())
      : id_(std::move(id)), members_max_(members_max) {}

  /// Joins, goes on or leaves. `request` has a member id and has passed validate(). Errors:
  /// kInvalidArgument, kGroupFull, kUnknownMember, kFencedMemberEpoch, kFencedInstance,
  /// kUnreleasedInstance; after an error nothing has changed.
  Result<ConsumerHeartbeatAnswer> heartbeat(const ConsumerHeartbeat& request, const Topics& topics,
                                            Clock::time_point now);
  /// Errors: what can be wrong with a request without looking at the group.
  static Result<> validate(const ConsumerHeartbeat& request);

  ConsumerGroupInfo info() const;

  // ---- members that speak the classic protocol (KIP-848, "online migration"): they are told to
  // join again where others are told a new assignment; consumer_group_classic.cc

  /// A group with the members of `classic` and what they have. Null: they are not consumers, or say
  /// what they are subscribed to in a way that cannot be read.
  static std::shared_ptr<ConsumerGroup> upgrade(std::string id, const ClassicGroup& classic,
                                                const Topics& topics, size_t members_max,
                                                Clock::time_point now);
  JoinAnswer join_classic(const JoinRequest& request, const std::string& new_id,
                          const Topics& topics, Clock::time_point now);
  SyncAnswer sync_classic(const SyncRequest& request, const Topics& topics, Clock::time_point now);
  Result<> heartbeat_classic(const GroupCaller& caller, const Topics& topics,
                             Clock::time_point now);

  /// Calls `done` when what has changed until now is durable, or could not be made so.
  void when_written(std::move_only_function<void(const Result<>&)> done);

  GroupType type() const override { return GroupType::kConsumer; }
  bool empty() const override { return members_.empty(); }
  bool idle() const override { return members_.empty() && epoch_ == 0; }
  Result<> check_commit(const GroupCaller& caller, bool transactional,
                        Clock::time_point now) override;
  Result<> check_fetch(const GroupCaller& caller) const override;
  std::optional<bool> subscribed(std::string_view topic) const override;
  std::optional<TimestampMs> retention_start(std::string_view topic,
                                             TimestampMs committed) const override;
  void describe(GroupInfo& out) const override;
  std::vector<Result<>> leave(const std::vector<LeavingMember>& members,
                              Clock::time_point now) override;
  std::optional<Clock::time_point> deadline() const override { return next_; }
  void tick(Clock::time_point now) override;
  std::vector<Write> take_writes() override;
  std::vector<Journal::Entry> tombstones() const override;
  void refuse_all(const Error&) override {}  // whoever waits waits for a write, which ends

  // ---- the journal (docs/kafka.md)

  /// The group whose state `key` holds; nullopt: the key is of another kind.
  static std::optional<std::string> group_of(std::string_view key);
  /// Takes up one entry of the journal. Errors: kCorruptRecord.
  Result<> load(std::string_view key, std::optional<std::string_view> value);
  /// After the last load(): members have a whole session from now on to be heard of.
  void resume(const Topics& topics, Clock::time_point now);

 private:
  /// A member with what is not kept in the journal.
  struct Slot {
    ConsumerMember member;
    Clock::time_point session_end{};
    std::optional<Clock::time_point> rebalance_end;
    bool fresh = true;  // has not been counted in yet
  };
  using Slots = std::map<std::string, Slot, std::less<>>;
  struct Resolved {
    uint64_t version;  // of the image
    std::set<std::string, std::less<>> names;
  };

  Slot* find_static(std::string_view instance_id);
  Result<Slot*> known_member(const ConsumerHeartbeat& request);
  Result<> check_epoch(const ConsumerMember& member, const ConsumerHeartbeat& request) const;
  Result<ConsumerHeartbeatAnswer> leave_by_heartbeat(const ConsumerHeartbeat& request);
  /// The member that the request is of: known, new, or in place of one with its instance id.
  Result<Slot*> enter(const ConsumerHeartbeat& request);
  Result<Slot*> enter_classic(const JoinRequest& request, const std::string& id);
  Result<Slot*> known_classic(const GroupCaller& caller);
  bool must_rejoin(const ConsumerMember& member) const;
  Slot& replace(Slot& old, const std::string& id);
  /// Whether the subscription has changed.
  bool update(ConsumerMember& member, const ConsumerHeartbeat& request);
  void remove(const std::string& id);

  /// What members are subscribed to, of what exists: counts of partitions by topic.
  std::map<Uuid, int32_t> subscriptions();
  std::vector<Uuid> topics_of(const ConsumerMember& member);
  const std::set<std::string, std::less<>>& resolve(const std::string& regex);
  /// Begins a new epoch when subscriptions, or what they stand for, have changed.
  void refresh(bool changed);
  void assign();
  std::string_view preferred_assignor() const;
  void reconcile(Slot& slot, const std::optional<PartitionSet>& owned, Clock::time_point now);
  void follow_target(Slot& slot, int32_t epoch, const std::optional<PartitionSet>& owned,
                     Clock::time_point now);
  bool is_stable(const ConsumerMember& member) const;
  std::string state() const;

  void set_owned(const PartitionSet& partitions, bool owned);
  bool is_owned(const Uuid& topic, int32_t partition) const;
  void wake_at(Clock::time_point at);
  void take_up_unwritten();
  Journal::Entry member_entry(const ConsumerMember& member) const;
  Journal::Entry group_entry() const;
  Result<> load_member(const std::string& id, std::optional<std::string_view> value);

  const std::string id_;
  const size_t members_max_;
  Topics topics_;  // as of the last heartbeat; null in a new group
  uint64_t seen_version_ = 0;
  uint64_t topics_hash_ = 0;  // of subscriptions() as of the current epoch
  int32_t epoch_ = 0;
  int32_t assignment_epoch_ = 0;
  std::string assignor_{};  // that made the assignment
  Slots members_;
  std::map<std::string, std::string, std::less<>> static_members_;  // instance id to member id
  std::map<Uuid, std::vector<bool>> owned_;  // by partition: whether any member may use it
  std::map<std::string, Resolved, std::less<>> regexes_;
  std::optional<Clock::time_point> next_;
  std::set<std::string> dirty_;  // member ids, gone or changed, to be written
  bool group_dirty_ = false;
  std::set<std::string> unwritten_;  // as dirty_: writes of these failed
  bool group_unwritten_ = false;
  std::vector<std::move_only_function<void(const Result<>&)>> waiting_;  // for the next write
};

}  // namespace millrace::broker::detail

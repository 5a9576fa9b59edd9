#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/io/env.h"
#include "broker/detail/group.h"

namespace millrace::broker::detail {

/// A group of the classic protocol: members join, the group elects one of them leader, the leader
/// assigns, members fetch their assignment; any change begins that anew as the next generation. The
/// broker reads nothing of what members say of themselves but what "consumer" groups subscribe to.
/// Also the group of clients that only keep offsets: empty for ever.
/// Source: KIP-62 (rebalance timeout), KIP-134 (initial delay), KIP-345 (static members), KIP-394
/// (member id required), KIP-559 (protocol names), KIP-814 (skipped assignment), and Kafka's
/// ClassicGroup.
class ClassicGroup final : public Group {
 public:
  using JoinReply = std::move_only_function<void(JoinAnswer)>;
  using SyncReply = std::move_only_function<void(SyncAnswer)>;

  ClassicGroup(std::string id, io::Env& env, const GroupOptions& options)
      : id_(std::move(id)), env_(env), options_(options) {}

  /// A group as the journal has it; its members are given a whole session from `now` on. Errors:
  /// kCorruptRecord.
  static Result<std::shared_ptr<ClassicGroup>> load(std::string id, io::Env& env,
                                                    const GroupOptions& options,
                                                    std::string_view record, Clock::time_point now);

  /// `reply` is called once, at once or later; it must not call back.
  void join(JoinRequest request, JoinReply reply, Clock::time_point now);
  void sync(SyncRequest request, SyncReply reply, Clock::time_point now);
  Result<> heartbeat(const GroupCaller& caller, Clock::time_point now);

  /// A member that is a consumer, read.
  struct Consumer {
    std::string id;
    std::optional<std::string> instance_id;
    std::string client_id;
    std::string client_host;
    std::chrono::milliseconds session_timeout{};
    std::chrono::milliseconds rebalance_timeout{};
    std::vector<GroupProtocol> protocols;
    std::vector<std::string> topics;
    std::vector<TopicPartition> assigned;
  };
  /// All members, when they are consumers and say so in a way that can be read.
  std::optional<std::vector<Consumer>> consumers() const;
  int32_t generation() const { return generation_; }

  GroupType type() const override { return GroupType::kClassic; }
  bool empty() const override { return state_ == State::kEmpty; }
  bool idle() const override { return empty() && pending_.empty() && generation_ == 0; }
  Result<> check_commit(const GroupCaller& caller, bool transactional,
                        Clock::time_point now) override;
  Result<> check_fetch(const GroupCaller&) const override { return {}; }
  std::optional<bool> subscribed(std::string_view topic) const override;
  std::optional<TimestampMs> retention_start(std::string_view topic,
                                             TimestampMs committed) const override;
  void describe(GroupInfo& out) const override;
  std::vector<Result<>> leave(const std::vector<LeavingMember>& members,
                              Clock::time_point now) override;
  std::optional<Clock::time_point> deadline() const override;
  void tick(Clock::time_point now) override;
  std::vector<Write> take_writes() override { return std::exchange(writes_, {}); }
  std::vector<Journal::Entry> tombstones() const override;
  void refuse_all(const Error& why) override;

 private:
  enum class State { kEmpty, kPreparing, kCompleting, kStable };
  struct Member {
    std::string id;
    std::optional<std::string> instance_id;
    std::string client_id;
    std::string client_host;
    std::chrono::milliseconds session_timeout{};
    std::chrono::milliseconds rebalance_timeout{};
    std::vector<GroupProtocol> protocols;
    std::string assignment;
    JoinReply join_reply;  // while it waits for the next generation
    SyncReply sync_reply;  // while it waits for its assignment
    bool is_new = false;   // has not had an answer to its first join
    Clock::time_point expires;

    bool has(std::string_view protocol) const;
    const std::string& metadata_of(std::string_view protocol) const;
    /// Who waits needs no heartbeat, except new ones: they may be gone and nobody knows.
    bool may_expire() const { return is_new || (!join_reply && !sync_reply); }
  };

  // ---- joining
  bool has_room_for(const std::string& member_id) const;
  bool supports(const JoinRequest& request) const;
  void join_new(JoinRequest request, JoinReply reply, Clock::time_point now);
  void join_known(JoinRequest request, JoinReply reply, Clock::time_point now);
  void add(std::string member_id, JoinRequest request, JoinReply reply, Clock::time_point now);
  void update(Member& member, JoinRequest request, JoinReply reply);
  void replace_static(JoinRequest request, std::string member_id, JoinReply reply,
                      Clock::time_point now);
  void keep_replaced(Member before, const std::string& new_id, bool skip_assignment);
  void replaced(Member before, const std::string& new_id, bool skip_assignment,
                const Result<>& kept);
  JoinAnswer joined(const Member& member) const;
  JoinAnswer refused(ErrorCode code, std::string member_id, std::string_view what) const;
  std::string new_member_id(const JoinRequest& request) const;

  // ---- the phases of a rebalance
  void rebalance(Clock::time_point now);
  void prepare(Clock::time_point now);
  void maybe_complete(Clock::time_point now);
  void complete(Clock::time_point now);
  void join_time_over(Clock::time_point now);
  void begin_generation(Clock::time_point now);
  bool elect_leader();
  void keep_assignment(std::vector<SyncRequest::Assignment> assignments);
  void assignment_kept(int32_t generation, const std::map<std::string, std::string>& assignment,
                       const Result<>& kept);
  void answer_syncs(const std::optional<Error>& error, Clock::time_point now);
  void sync_expired(Clock::time_point now);

  // ---- members
  Result<> check_member(const std::string& member_id,
                        const std::optional<std::string>& instance_id) const;
  Result<> leave_one(const LeavingMember& member);
  void drop(const std::string& member_id);
  void expire(const std::string& member_id, Clock::time_point now);
  size_t joined_count() const;
  bool all_joined() const { return pending_.empty() && joined_count() == members_.size(); }
  std::chrono::milliseconds rebalance_timeout() const;
  std::string select_protocol() const;
  void read_subscriptions();
  void become_empty();

  // ---- classic_group_record.cc
  using Assignment = std::map<std::string, std::string>;  // by member id
  Journal::Entry record(const Assignment& assignment) const;
  Result<> read(std::string_view record);
  Assignment assignments() const;

  const std::string id_;
  io::Env& env_;
  const GroupOptions& options_;
  State state_ = State::kEmpty;
  bool initial_ = false;    // kPreparing for the first members
  bool more_came_ = false;  // members, during the initial delay
  std::chrono::milliseconds initial_left_{};
  int32_t generation_ = 0;
  std::string protocol_type_;
  std::string protocol_;
  std::string leader_;
  std::map<std::string, Member> members_;
  std::map<std::string, std::string> static_;         // instance id: member id
  std::map<std::string, Clock::time_point> pending_;  // ids that were given, until they join
  std::set<std::string> not_synced_;                  // of this generation
  std::optional<std::set<std::string>> subscribed_;   // topics, when all members' are known
  std::optional<Clock::time_point> join_deadline_;
  std::optional<Clock::time_point> sync_deadline_;
  TimestampMs empty_since_ = -1;
  std::vector<Write> writes_;
};

/// Topics of a consumer's subscription, as its metadata in the classic protocol says; nullopt when
/// it does not read as one. Source: Kafka's ConsumerProtocolSubscription.
std::optional<std::vector<std::string>> read_subscription(std::string_view metadata);
/// The partitions that a consumer says it has, in the same metadata.
std::optional<std::vector<TopicPartition>> read_owned(std::string_view metadata);
/// As ConsumerProtocolAssignment; `partitions` sorted.
std::string write_assignment(const std::vector<TopicPartition>& partitions);
/// As above, of ConsumerProtocolAssignment.
std::optional<std::vector<TopicPartition>> read_assignment(std::string_view assignment);

}  // namespace millrace::broker::detail

#pragma once

#include <map>
#include <memory>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "base/io/gate.h"
#include "base/io/signal.h"
#include "broker/detail/group.h"
#include "broker/detail/group_offsets.h"
#include "broker/detail/topics_image.h"

namespace millrace::broker::detail {

class ConsumerGroup;

/// The registry of groups, at home on one shard. Every public call crosses to it; what ends with
/// _here runs on it.
class GroupsImpl final : public Groups {
 public:
  GroupsImpl(io::Runtime& runtime, io::Env& env, Broker& broker, GroupOptions options);

  /// Reads the journal, starts the timers. Once, on home, before anything else.
  io::Task<Result<>> start();

  io::Task<void> close() override;
  io::Task<Result<std::vector<Result<>>>> commit(std::string group, GroupCaller caller,
                                                 std::vector<OffsetToCommit> offsets) override;
  io::Task<Result<std::vector<FetchedOffset>>> fetch(
      std::string group, GroupCaller caller, std::optional<std::vector<TopicPartition>> wanted,
      bool require_stable) override;
  io::Task<Result<std::vector<Result<>>>> delete_offsets(
      std::string group, std::vector<TopicPartition> offsets) override;
  io::Task<Result<std::vector<Result<>>>> stage_offsets(
      int64_t producer_id, int16_t producer_epoch, std::string group, GroupCaller caller,
      std::vector<OffsetToCommit> offsets) override;
  io::Task<Result<>> finish_transaction(int64_t producer_id, bool commit) override;
  io::Task<JoinAnswer> join(JoinRequest request, std::stop_token gone) override;
  io::Task<SyncAnswer> sync(SyncRequest request, std::stop_token gone) override;
  io::Task<Result<>> heartbeat(std::string group, GroupCaller caller) override;
  io::Task<Result<std::vector<Result<>>>> leave(std::string group,
                                                std::vector<LeavingMember> members) override;
  io::Task<Result<ConsumerHeartbeatAnswer>> heartbeat(ConsumerHeartbeat request) override;
  io::Task<Result<ConsumerGroupInfo>> describe_consumer(std::string group) override;
  io::Task<std::vector<GroupInfo>> list() override;
  io::Task<Result<GroupInfo>> describe(std::string group) override;
  io::Task<Result<>> remove(std::string group) override;

 private:
  /// One group id: what coordinates its members, and its offsets, which outlive any change of type.
  struct Entry {
    std::shared_ptr<Group> group;  // never null; shared with its writes under way
    GroupOffsets offsets;
    size_t writes = 0;                           // of offsets, under way: the entry stays
    std::optional<Clock::time_point> next = {};  // when timers_ has it, at the latest
  };
  using Entries = std::map<std::string, Entry, std::less<>>;
  struct Timer {
    Clock::time_point at;
    std::string group;
    bool operator>(const Timer& other) const { return at > other.at; }
  };

  // ---- what is common to all types of groups

  Entry* find(std::string_view group);
  /// The entry of `group`; a new one is an empty classic group.
  Entry& find_or_make(std::string_view group);
  /// Puts `group` in place of an empty group of another type, keeping the offsets; the old one's
  /// tombstones are written before anything that is written after this call.
  void replace(const std::string& id, Entry& entry, std::shared_ptr<Group> group);
  /// To be called after any call of a Group that is not const: starts what it wants written, and
  /// sees to its next deadline.
  void after(std::string_view id, Entry& entry);
  /// One durable batch; continues in the order of the calls, so that memory changes as the journal
  /// does. Whoever changes memory does so at once after it, on success.
  io::Task<Result<>> write(std::vector<Journal::Entry> entries);
  /// Writes what groups wait to have written, if nothing else has by then.
  io::Task<void> flush();
  struct Queued {
    std::string id;
    std::shared_ptr<Group> group;
    Group::Write write;
  };
  void enqueue(Queued queued);
  void finish(Queued queued, const Result<>& outcome);
  /// Drops `id` when nothing is lost with it.
  void forget_if_idle(const std::string& id);
  /// Continues when what is being written now is written and in memory.
  io::Task<void> settle();
  class Inside;
  static Error stopping();

  // ---- loading

  /// What the journal's last records say, before groups are made of them.
  struct Loaded;
  Result<> load_entry(std::string_view key, std::optional<std::string_view> value, Loaded& loaded);

  // ---- offsets: detail/group_offset_calls.cc

  using Outcomes = std::vector<Result<>>;
  struct Checked {
    Outcomes outcomes;
    std::vector<std::pair<TopicPartition, KeptOffset>> kept;
  };
  io::Task<Result<Outcomes>> commit_here(std::string group, GroupCaller caller,
                                         std::vector<OffsetToCommit> offsets);
  io::Task<Result<std::vector<FetchedOffset>>> fetch_here(
      std::string group, GroupCaller caller, std::optional<std::vector<TopicPartition>> wanted,
      bool require_stable);
  io::Task<Result<Outcomes>> delete_offsets_here(std::string group,
                                                 std::vector<TopicPartition> offsets);
  io::Task<Result<Outcomes>> stage_offsets_here(int64_t producer_id, int16_t producer_epoch,
                                                std::string group, GroupCaller caller,
                                                std::vector<OffsetToCommit> offsets);
  io::Task<Result<>> finish_transaction_here(int64_t producer_id, bool commit);
  /// Finds or makes the group and asks it whether `caller` may commit.
  Result<Entry*> check_commit(const std::string& group, const GroupCaller& caller,
                              bool transactional);
  /// Which of `offsets` can be kept, and as what; one outcome each.
  Checked check_offsets(std::vector<OffsetToCommit> offsets);
  io::Task<void> keep_retention();
  io::Task<void> expire_offsets();
  /// The offsets of `entry` that have outlived their retention or their topic.
  std::vector<TopicPartition> expired(const Entry& entry) const;
  /// Durably, then in memory; `group_too`: the group as well, if it is still empty by then.
  io::Task<Result<>> forget_offsets(std::string group, std::vector<TopicPartition> which,
                                    bool group_too);
  /// Whether the topic is still the one that the offset is of.
  bool is_current(const TopicPartition& at, const KeptOffset& kept) const;
  void stage(int64_t producer_id, int16_t epoch, const std::string& group, TopicPartition at,
             KeptOffset kept);

  // ---- the classic protocol: detail/group_classic_calls.cc

  io::Task<JoinAnswer> join_here(JoinRequest request, std::stop_token gone);
  io::Task<SyncAnswer> sync_here(SyncRequest request, std::stop_token gone);
  io::Task<Result<>> heartbeat_here(std::string group, GroupCaller caller);
  io::Task<Result<Outcomes>> leave_here(std::string group, std::vector<LeavingMember> members);

  // ---- the consumer protocol: detail/group_consumer_calls.cc

  io::Task<Result<ConsumerHeartbeatAnswer>> consumer_heartbeat_here(ConsumerHeartbeat request);
  io::Task<Result<ConsumerGroupInfo>> describe_consumer_here(std::string group);
  /// The group that the heartbeat is for; one that joins may make it. The heartbeat is valid.
  Result<ConsumerGroup*> consumer_group_for(const ConsumerHeartbeat& request);
  /// Continues when what the group has changed until now is durable.
  io::Task<Result<>> written(std::string id, ConsumerGroup& group);
  // Members that speak the classic protocol in a group of the consumer protocol; the caller is
  // Inside.
  io::Task<JoinAnswer> join_consumers(JoinRequest request);
  SyncAnswer sync_consumers(const SyncRequest& request);
  Result<> heartbeat_consumers(const std::string& group, const GroupCaller& caller);

  // ---- admin and time

  io::Task<std::vector<GroupInfo>> list_here();
  io::Task<Result<GroupInfo>> describe_here(std::string group);
  io::Task<Result<>> remove_here(std::string group);
  io::Task<void> close_here();
  GroupInfo info_of(const std::string& id, const Entry& entry) const;
  io::Task<void> keep_time();

  io::Env& env_;
  Broker& broker_;
  const GroupOptions options_;
  io::Shard& home_;
  const std::unique_ptr<Journal> journal_;
  TopicsWatch topics_watch_;
  io::Gate gate_;  // timers, writes, and calls that wait
  Entries entries_;
  // Groups in which a producer's transaction has staged offsets.
  std::map<int64_t, std::set<std::string>> staged_;
  std::priority_queue<Timer, std::vector<Timer>, std::greater<>> timers_;
  io::Signal timers_changed_;
  // What groups want written: it goes with the next write(), so that the journal has everything in
  // the order in which it happened.
  std::vector<Queued> queue_;
  uint64_t writes_begun_ = 0;  // numbers write() calls; also KeptOffset::order
  uint64_t writes_ended_ = 0;
  io::Signal write_ended_;
  bool stopping_ = false;
};

/// A call that is under way: the registry's close waits for it. False: the registry is closing.
class GroupsImpl::Inside {
 public:
  explicit Inside(io::Gate& gate) : gate_(gate), entered_(gate.try_enter()) {}
  ~Inside() {
    if (entered_) gate_.leave();
  }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  explicit operator bool() const { return entered_; }

 private:
  io::Gate& gate_;
  const bool entered_;
};

}  // namespace millrace::broker::detail

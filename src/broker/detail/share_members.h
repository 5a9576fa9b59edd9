#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/share_groups.h"

namespace millrace::broker::detail {

/// Which members fetch from which partitions. Every partition of a topic has at least one member
/// that is subscribed to it, and every member has a partition of what it is subscribed to: with
/// more members than partitions, several share one. Even, and the same for the same input. Source:
/// KIP-932, the simple assignor.
std::map<std::string, ShareAssignment> assign_shares(
    const std::map<std::string, std::set<Uuid>>& subscriptions,
    const std::map<Uuid, int32_t>& partition_counts);

/// The members of one share group: a step machine without I/O; time is told to it. There is no
/// generation to wait for: a member has its new partitions with its next heartbeat.
class ShareMembers {
 public:
  /// The id and the count of partitions of a topic; nullopt: there is none.
  using Lookup = std::function<std::optional<std::pair<Uuid, int32_t>>(const std::string&)>;
  struct Limits {
    size_t members = 200;  // Kafka's group.share.max.size
    int64_t session_ms = 45'000;
  };

  explicit ShareMembers(int32_t epoch) : epoch_(epoch) {}

  /// Errors: kInvalidArgument, kUnknownMember, kFencedMemberEpoch, kGroupFull. The interval is left
  /// to the caller.
  Result<ShareHeartbeatAnswer> heartbeat(const ShareHeartbeat& request, int64_t now,
                                         const Lookup& lookup, const Limits& limits);
  /// Removes who was silent for too long; gives their ids.
  std::vector<std::string> expire(int64_t now, const Limits& limits);
  /// When the first of them will have been; nullopt without members.
  std::optional<int64_t> next_expiry(const Limits& limits) const;

  bool empty() const { return members_.empty(); }
  int32_t epoch() const { return epoch_; }
  std::vector<ShareMemberInfo> list() const;
  /// All partitions that are to be fetched from.
  std::vector<SharePartitionId> assigned() const;

 private:
  struct Member {
    ShareMemberInfo info;
    int32_t previous_epoch = 0;
    int64_t seen = 0;
    ShareAssignment told;
  };
  Result<ShareHeartbeatAnswer> leave(const std::string& id);
  Result<Member*> find_or_join(const ShareHeartbeat& request, const Limits& limits);
  /// Whether the topics that members are subscribed to have changed.
  bool look_up(const Lookup& lookup);
  void assign();

  int32_t epoch_;
  std::map<std::string, Member> members_;
  std::map<std::string, std::pair<Uuid, int32_t>> topics_;  // those that exist
};

}  // namespace millrace::broker::detail

#include "broker/detail/share_members.h"

#include <fmt/format.h>

#include <algorithm>

namespace millrace::broker::detail {

namespace {

constexpr int32_t kJoin = 0;
constexpr int32_t kLeave = -1;

/// Spreads `partitions` over `members`, beginning with the member `turn`.
void spread(const std::vector<SharePartitionId>& partitions,
            const std::vector<std::string>& members, size_t turn,
            std::map<std::string, ShareAssignment>& out) {
  const size_t count = std::max(partitions.size(), members.size());
  if (partitions.empty() || members.empty()) return;
  for (size_t i = 0; i < count; ++i) {
    const auto& [topic, partition] = partitions[i % partitions.size()];
    out[members[(turn + i) % members.size()]][topic].push_back(partition);
  }
}

std::vector<SharePartitionId> partitions_of(const Uuid& topic, int32_t count) {
  std::vector<SharePartitionId> out;
  for (int32_t p = 0; p < count; ++p) out.push_back({topic, p});
  return out;
}

Result<> check(const ShareHeartbeat& request) {
  const auto invalid = [](std::string text) {
    return Error{ErrorCode::kInvalidArgument, std::move(text)};
  };
  if (request.member.empty()) return invalid("a heartbeat needs a member id");
  if (request.epoch < kLeave) return invalid("a member's epoch is not below -1");
  if (request.rack && request.rack->empty()) return invalid("a rack id is not empty");
  if (request.epoch == kJoin && (!request.topics || request.topics->empty()))
    return invalid("who joins a share group says which topics it subscribes to");
  return {};
}

}  // namespace

std::map<std::string, ShareAssignment> assign_shares(
    const std::map<std::string, std::set<Uuid>>& subscriptions,
    const std::map<Uuid, int32_t>& partition_counts) {
  std::map<std::string, ShareAssignment> out;
  if (subscriptions.empty()) return out;
  const auto& first = subscriptions.begin()->second;
  const bool alike = std::ranges::all_of(
      subscriptions, [&](const auto& member) { return member.second == first; });
  std::vector<std::string> members;
  std::vector<SharePartitionId> partitions;
  if (alike) {
    for (const auto& [member, topics] : subscriptions) members.push_back(member);
    for (const auto& topic : first) {
      const auto count = partition_counts.find(topic);
      if (count == partition_counts.end()) continue;
      const auto more = partitions_of(topic, count->second);
      partitions.insert(partitions.end(), more.begin(), more.end());
    }
    spread(partitions, members, 0, out);
    return out;
  }
  size_t turn = 0;
  for (const auto& [topic, count] : partition_counts) {
    members.clear();
    for (const auto& [member, topics] : subscriptions) {
      if (topics.contains(topic)) members.push_back(member);
    }
    partitions = partitions_of(topic, count);
    spread(partitions, members, turn, out);
    turn += partitions.size();
  }
  return out;
}

Result<ShareHeartbeatAnswer> ShareMembers::leave(const std::string& id) {
  if (members_.erase(id) == 0)
    return Error{ErrorCode::kUnknownMember, fmt::format("the group has no member '{}'", id)};
  ++epoch_;
  assign();
  return ShareHeartbeatAnswer{.epoch = kLeave};
}

Result<ShareMembers::Member*> ShareMembers::find_or_join(const ShareHeartbeat& request,
                                                         const Limits& limits) {
  const auto at = members_.find(request.member);
  if (at == members_.end()) {
    if (request.epoch != kJoin)
      return Error{ErrorCode::kUnknownMember,
                   fmt::format("the group has no member '{}'", request.member)};
    if (members_.size() >= limits.members)
      return Error{ErrorCode::kGroupFull,
                   fmt::format("the group has {} members already", members_.size())};
    return &members_[request.member];
  }
  Member& member = at->second;
  if (request.epoch > member.info.epoch ||
      (request.epoch != kJoin && request.epoch < member.info.epoch &&
       request.epoch != member.previous_epoch))
    return Error{ErrorCode::kFencedMemberEpoch,
                 fmt::format("the member's epoch is {}, not {}", member.info.epoch, request.epoch)};
  return &member;
}

bool ShareMembers::look_up(const Lookup& lookup) {
  std::map<std::string, std::pair<Uuid, int32_t>> topics;
  for (const auto& [id, member] : members_) {
    for (const auto& name : member.info.topics) {
      if (topics.contains(name)) continue;
      if (const auto topic = lookup(name)) topics.emplace(name, *topic);
    }
  }
  if (topics == topics_) return false;
  topics_ = std::move(topics);
  return true;
}

void ShareMembers::assign() {
  std::map<std::string, std::set<Uuid>> subscriptions;
  std::map<Uuid, int32_t> counts;
  for (const auto& [id, member] : members_) {
    auto& wanted = subscriptions[id];
    for (const auto& name : member.info.topics) {
      const auto topic = topics_.find(name);
      if (topic == topics_.end()) continue;
      wanted.insert(topic->second.first);
      counts.insert(topic->second);
    }
  }
  auto assignments = assign_shares(subscriptions, counts);
  for (auto& [id, member] : members_) member.info.assignment = std::move(assignments[id]);
}

Result<ShareHeartbeatAnswer> ShareMembers::heartbeat(const ShareHeartbeat& request, int64_t now,
                                                     const Lookup& lookup, const Limits& limits) {
  MR_TRY(check(request));
  if (request.epoch == kLeave) return leave(request.member);
  const size_t before = members_.size();
  MR_TRY(Member* const found, find_or_join(request, limits));
  Member& member = *found;
  bool changed = members_.size() != before;
  member.seen = now;
  member.info.id = request.member;
  if (request.rack) member.info.rack = request.rack;
  member.info.client_id = request.client_id;
  member.info.client_host = request.client_host;
  if (request.topics) {
    auto topics = *request.topics;
    std::ranges::sort(topics);
    topics.erase(std::ranges::unique(topics).begin(), topics.end());
    changed = changed || topics != member.info.topics;
    member.info.topics = std::move(topics);
  }
  if (look_up(lookup) || changed) {
    ++epoch_;
    assign();
  }
  if (member.info.epoch != epoch_) {
    member.previous_epoch = member.info.epoch;
    member.info.epoch = epoch_;
  }
  ShareHeartbeatAnswer answer{.epoch = epoch_};
  if (request.epoch == kJoin || request.topics || member.told != member.info.assignment) {
    member.told = member.info.assignment;
    answer.assignment = member.told;
  }
  return answer;
}

std::vector<std::string> ShareMembers::expire(int64_t now, const Limits& limits) {
  std::vector<std::string> gone;
  for (const auto& [id, member] : members_) {
    if (member.seen + limits.session_ms <= now) gone.push_back(id);
  }
  for (const auto& id : gone) members_.erase(id);
  if (!gone.empty()) {
    ++epoch_;
    assign();
  }
  return gone;
}

std::optional<int64_t> ShareMembers::next_expiry(const Limits& limits) const {
  std::optional<int64_t> first;
  for (const auto& [id, member] : members_) {
    const int64_t at = member.seen + limits.session_ms;
    if (!first || at < *first) first = at;
  }
  return first;
}

std::vector<ShareMemberInfo> ShareMembers::list() const {
  std::vector<ShareMemberInfo> out;
  for (const auto& [id, member] : members_) out.push_back(member.info);
  return out;
}

std::vector<SharePartitionId> ShareMembers::assigned() const {
  std::set<SharePartitionId> ids;
  for (const auto& [id, member] : members_) {
    for (const auto& [topic, partitions] : member.info.assignment) {
      for (const int32_t p : partitions) ids.insert({topic, p});
    }
  }
  return {ids.begin(), ids.end()};
}

}  // namespace millrace::broker::detail

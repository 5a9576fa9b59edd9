#include "broker/detail/consumer_group.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/logging.h"
#include "broker/detail/assignors.h"
#include "broker/detail/partition_set.h"

namespace millrace::broker::detail {

namespace {

bool is_blank(const std::string& text) {
  return std::ranges::all_of(text, [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); });
}

Error refuse(std::string text) { return {ErrorCode::kInvalidArgument, std::move(text)}; }

/// A member's record must fit the journal, or nothing of its group could be written any more.
constexpr size_t kSubscriptionBytesMax = 1 << 20;

size_t subscription_bytes(const ConsumerHeartbeat& request) {
  size_t bytes = request.topic_regex.value_or("").size();
  if (!request.topic_names) return bytes;
  for (const auto& name : *request.topic_names) bytes += name.size();
  return bytes;
}

Result<> validate_join(const ConsumerHeartbeat& request) {
  if (request.rebalance_timeout_ms == -1) {
    return refuse("RebalanceTimeoutMs must be provided in first request.");
  }
  if (!request.owned || !request.owned->empty()) {
    return refuse("TopicPartitions must be empty when (re-)joining.");
  }
  // An empty list, or an empty pattern, is a member without a subscription.
  if (!request.topic_names && !request.topic_regex) {
    return refuse(
        "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.");
  }
  return {};
}

/// A request that says everything: a member sends it when it joins, and after any failure, as it
/// cannot know what of its last one was heard.
bool is_full(const ConsumerHeartbeat& request) {
  return request.member_epoch == kJoinEpoch ||
         (request.rebalance_timeout_ms != -1 && (request.topic_names || request.topic_regex) &&
          request.owned);
}

std::vector<std::string> sorted(std::vector<std::string> names) {
  std::ranges::sort(names);
  const auto rest = std::ranges::unique(names);
  names.erase(rest.begin(), rest.end());
  return names;
}

}  // namespace

Result<> ConsumerGroup::validate(const ConsumerHeartbeat& request) {
  const int32_t epoch = request.member_epoch;
  if (is_blank(request.group)) return refuse("GroupId can't be empty.");
  if (request.instance_id && is_blank(*request.instance_id)) {
    return refuse("InstanceId can't be empty.");
  }
  if (request.rack_id && is_blank(*request.rack_id)) return refuse("RackId can't be empty.");
  if (epoch < kStaticLeaveEpoch) return refuse("MemberEpoch is invalid.");
  if ((request.member_id_required || epoch != kJoinEpoch) && is_blank(request.member_id)) {
    return refuse("MemberId can't be empty.");
  }
  if (epoch == kStaticLeaveEpoch && !request.instance_id) {
    return refuse("InstanceId can't be null.");
  }
  if (epoch == kJoinEpoch) MR_TRY(validate_join(request));
  if (request.assignor && !find_assignor(*request.assignor)) {
    return Error{ErrorCode::kUnsupportedAssignor,
                 fmt::format("ServerAssignor {} is not supported. Supported assignors: uniform, "
                             "range.",
                             *request.assignor)};
  }
  if (subscription_bytes(request) > kSubscriptionBytesMax) {
    return refuse("The subscription is too large: subscribe by a pattern.");
  }
  if (request.topic_regex) MR_TRY(TopicPattern::parse(*request.topic_regex));
  return {};
}

Result<ConsumerHeartbeatAnswer> ConsumerGroup::heartbeat(const ConsumerHeartbeat& request,
                                                         const Topics& topics,
                                                         Clock::time_point now) {
  topics_ = topics;
  if (request.member_epoch < 0) return leave_by_heartbeat(request);
  MR_TRY(Slot * slot, request.member_epoch == kJoinEpoch ? enter(request) : known_member(request));
  ConsumerMember& member = slot->member;
  const ConsumerMember before = member;
  const bool changed = update(member, request);
  refresh(std::exchange(slot->fresh, false) || changed);
  if (epoch_ > assignment_epoch_) assign();
  reconcile(*slot, request.owned, now);
  if (member != before) dirty_.insert(member.id);
  slot->session_end = now + request.session_timeout;
  wake_at(slot->session_end);

  ConsumerHeartbeatAnswer answer;
  answer.member_id = member.id;
  answer.member_epoch = member.epoch;
  answer.heartbeat_interval_ms = static_cast<int32_t>(request.heartbeat_interval.count());
  // One who speaks with the epoch before has not had the answer with the assignment of this one.
  const bool lost = request.member_epoch != before.epoch;
  if (is_full(request) || lost || member.assigned != before.assigned) {
    answer.assignment = member.assigned;
  }
  return answer;
}

// ---- who speaks

ConsumerGroup::Slot* ConsumerGroup::find_static(std::string_view instance_id) {
  const auto at = static_members_.find(instance_id);
  if (at == static_members_.end()) return nullptr;
  return &members_.find(at->second)->second;
}

Result<ConsumerGroup::Slot*> ConsumerGroup::known_member(const ConsumerHeartbeat& request) {
  Slot* slot = nullptr;
  if (request.instance_id) {
    slot = find_static(*request.instance_id);
    if (!slot) {
      return Error{ErrorCode::kUnknownMember,
                   fmt::format("Instance id {} is unknown.", *request.instance_id)};
    }
    if (slot->member.id != request.member_id) {
      return Error{ErrorCode::kFencedInstance,
                   fmt::format("Static member {} with instance id {} was fenced by member {}.",
                               request.member_id, *request.instance_id, slot->member.id)};
    }
  } else {
    const auto at = members_.find(request.member_id);
    if (at == members_.end()) {
      return Error{ErrorCode::kUnknownMember,
                   fmt::format("Member {} is not a member of group {}.", request.member_id, id_)};
    }
    slot = &at->second;
  }
  MR_TRY(check_epoch(slot->member, request));
  return slot;
}

Result<> ConsumerGroup::check_epoch(const ConsumerMember& member,
                                    const ConsumerHeartbeat& request) const {
  if (request.member_epoch < 0 || request.member_epoch == member.epoch) return {};
  if (request.member_epoch > member.epoch) {
    return Error{ErrorCode::kFencedMemberEpoch,
                 fmt::format("The consumer group member has a greater member epoch ({}) than the "
                             "one known by the group coordinator ({}). The member must abandon all "
                             "its partitions and rejoin.",
                             request.member_epoch, member.epoch)};
  }
  // The answer with the newer epoch may have been lost: then the member has nothing that it should
  // not have.
  if (request.member_epoch == member.previous_epoch && request.owned &&
      is_subset(*request.owned, member.assigned)) {
    return {};
  }
  return Error{ErrorCode::kFencedMemberEpoch,
               fmt::format("The consumer group member has a smaller member epoch ({}) than the one "
                           "known by the group coordinator ({}). The member must abandon all its "
                           "partitions and rejoin.",
                           request.member_epoch, member.epoch)};
}

// ---- joining and leaving

Result<ConsumerGroup::Slot*> ConsumerGroup::enter(const ConsumerHeartbeat& request) {
  if (request.instance_id) {
    if (Slot* old = find_static(*request.instance_id)) {
      const bool same = old->member.id == request.member_id;
      if (old->member.epoch != kStaticLeaveEpoch && !same && !old->member.classic) {
        return Error{
            ErrorCode::kUnreleasedInstance,
            fmt::format("Static member {} with instance id {} cannot join the group because the "
                        "instance id is owned by member {}.",
                        request.member_id, *request.instance_id, old->member.id)};
      }
      return &replace(*old, request.member_id);
    }
  }
  if (const auto at = members_.find(request.member_id); at != members_.end()) return &at->second;
  if (members_.size() >= members_max_) {
    return Error{ErrorCode::kGroupFull,
                 fmt::format("The consumer group has reached its maximum capacity of {} members.",
                             members_max_)};
  }
  Slot& slot = members_[request.member_id];
  slot.member.id = request.member_id;
  return &slot;
}

ConsumerGroup::Slot& ConsumerGroup::replace(Slot& old, const std::string& id) {
  const std::string old_id = old.member.id;
  old.member.epoch = 0;
  old.member.previous_epoch = 0;
  dirty_.insert(old_id);
  dirty_.insert(id);
  if (id == old_id) return old;
  remove(id);  // a member of that id without the instance id, which begins anew
  auto node = members_.extract(old_id);
  node.key() = id;
  node.mapped().member.id = id;
  static_members_[*old.member.instance_id] = id;
  return members_.insert(std::move(node)).position->second;
}

bool ConsumerGroup::update(ConsumerMember& member, const ConsumerHeartbeat& request) {
  if (request.instance_id && member.instance_id != request.instance_id) {
    if (member.instance_id) static_members_.erase(*member.instance_id);
    member.instance_id = request.instance_id;
    static_members_[*request.instance_id] = member.id;
  }
  if (request.rack_id) member.rack_id = request.rack_id;
  if (request.rebalance_timeout_ms != -1) {
    member.rebalance_timeout = std::chrono::milliseconds(request.rebalance_timeout_ms);
  }
  if (request.assignor) member.assignor = *request.assignor;
  member.classic.reset();
  member.client_id = request.client_id;
  member.client_host = request.client_host;
  bool changed = false;
  if (request.topic_names) {
    auto names = sorted(*request.topic_names);
    changed = names != member.topic_names;
    member.topic_names = std::move(names);
  }
  if (request.topic_regex && *request.topic_regex != member.topic_regex) {
    member.topic_regex = *request.topic_regex;
    changed = true;
  }
  return changed;
}

Result<ConsumerHeartbeatAnswer> ConsumerGroup::leave_by_heartbeat(
    const ConsumerHeartbeat& request) {
  MR_TRY(Slot * slot, known_member(request));
  ConsumerMember& member = slot->member;
  ConsumerHeartbeatAnswer answer;
  answer.member_id = member.id;
  answer.member_epoch = request.member_epoch;
  if (request.member_epoch == kLeaveEpoch) {
    remove(std::string(member.id));
    return answer;
  }
  // It keeps its place until its session ends; it has given up what it was told to.
  set_owned(member.revoking, false);
  member.revoking.clear();
  member.state = ConsumerMember::State::kStable;
  member.epoch = kStaticLeaveEpoch;
  slot->rebalance_end.reset();
  dirty_.insert(member.id);
  return answer;
}

void ConsumerGroup::remove(const std::string& id) {
  const auto at = members_.find(id);
  if (at == members_.end()) return;
  const ConsumerMember& member = at->second.member;
  set_owned(member.assigned, false);
  set_owned(member.revoking, false);
  if (member.instance_id) static_members_.erase(*member.instance_id);
  members_.erase(at);
  dirty_.insert(id);
  // Who gets what it had is decided at the next heartbeat of those who remain.
  ++epoch_;
  group_dirty_ = true;
}

std::vector<Result<>> ConsumerGroup::leave(const std::vector<LeavingMember>& members,
                                           Clock::time_point) {
  std::vector<Result<>> out;
  for (const auto& leaving : members) {
    ConsumerHeartbeat request;
    request.member_epoch = kLeaveEpoch;
    request.member_id = leaving.member_id;
    request.instance_id = leaving.instance_id;
    if (leaving.member_id.empty() && leaving.instance_id) {
      if (const Slot* slot = find_static(*leaving.instance_id)) request.member_id = slot->member.id;
    }
    const auto found = known_member(request);
    if (found) remove(std::string((*found)->member.id));
    out.push_back(found ? Result<>() : Result<>(found.error()));
  }
  return out;
}

// ---- time

void ConsumerGroup::wake_at(Clock::time_point at) { next_ = next_ ? std::min(*next_, at) : at; }

void ConsumerGroup::tick(Clock::time_point now) {
  std::vector<std::string> late;
  next_.reset();
  for (const auto& [id, slot] : members_) {
    const auto end =
        slot.rebalance_end ? std::min(*slot.rebalance_end, slot.session_end) : slot.session_end;
    if (end > now) {
      wake_at(end);
      continue;
    }
    logging::info("member removed from its group",
                  {{"group", id_},
                   {"member", id},
                   {"because", slot.session_end <= now ? "it was not heard of within its session"
                                                       : "it did not give up partitions in time"}});
    late.push_back(id);
  }
  for (const auto& id : late) remove(id);
}

// ---- offsets

namespace {

Error stale(int32_t received, int32_t expected) {
  return {ErrorCode::kStaleMemberEpoch,
          fmt::format("The received member epoch {} does not match the expected member epoch {}.",
                      received, expected)};
}

}  // namespace

Result<> ConsumerGroup::check_commit(const GroupCaller& caller, bool transactional,
                                     Clock::time_point) {
  if (caller.generation < 0 && members_.empty()) return {};
  // A producer that knows nothing of the group's members (before KIP-447).
  if (transactional && caller.member_id.empty() && caller.generation == -1 && !caller.instance_id) {
    return {};
  }
  return check_fetch({caller.member_id, std::max(caller.generation, 0), caller.instance_id});
}

Result<> ConsumerGroup::check_fetch(const GroupCaller& caller) const {
  if (caller.member_id.empty() && caller.generation < 0) return {};
  const auto at = members_.find(caller.member_id);
  if (at == members_.end()) {
    return Error{ErrorCode::kUnknownMember,
                 fmt::format("Member {} is not a member of group {}.", caller.member_id, id_)};
  }
  const ConsumerMember& member = at->second.member;
  if (caller.generation == member.epoch) return {};
  auto error = stale(caller.generation, member.epoch);
  if (member.classic) error.code = ErrorCode::kIllegalGeneration;
  return error;
}

}  // namespace millrace::broker::detail

#include "broker/detail/classic_group.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/logging.h"

namespace millrace::broker::detail {

namespace {

/// A member that has not had an answer to its first join may be gone without a word: the
/// connection is busy with the join. Source: Kafka's new member join timeout.
constexpr auto kNewMemberTimeout = std::chrono::minutes(5);

bool same_protocols(const std::vector<GroupProtocol>& a, const std::vector<GroupProtocol>& b) {
  return std::ranges::equal(a, b, [](const GroupProtocol& x, const GroupProtocol& y) {
    return x.name == y.name && x.metadata == y.metadata;
  });
}

}  // namespace

JoinAnswer ClassicGroup::refused(ErrorCode code, std::string member_id,
                                 std::string_view what) const {
  JoinAnswer answer;
  answer.error = Error{code, fmt::format("group {}: {}", id_, what)};
  answer.member_id = std::move(member_id);
  return answer;
}

/// While members join, those that came first have the places: a group may be over its size.
bool ClassicGroup::has_room_for(const std::string& member_id) const {
  const auto at = members_.find(member_id);
  switch (state_) {
    case State::kEmpty:
      return true;
    case State::kPreparing:
      return (at != members_.end() && at->second.join_reply) ||
             joined_count() < options_.members_max;
    default:
      return at != members_.end() || members_.size() < options_.members_max;
  }
}

/// One of the member's protocols must be every member's.
bool ClassicGroup::supports(const JoinRequest& request) const {
  if (state_ == State::kEmpty) return !request.protocol_type.empty() && !request.protocols.empty();
  return request.protocol_type == protocol_type_ &&
         std::ranges::any_of(request.protocols, [&](const GroupProtocol& wanted) {
           return std::ranges::all_of(
               members_, [&](const auto& member) { return member.second.has(wanted.name); });
         });
}

void ClassicGroup::join(JoinRequest request, JoinReply reply, Clock::time_point now) {
  if (!has_room_for(request.member_id)) {
    drop(request.member_id);
    reply(refused(ErrorCode::kGroupFull, "", "it has as many members as it may"));
  } else if (!supports(request)) {
    reply(refused(ErrorCode::kInconsistentProtocol, request.member_id,
                  "no protocol of the member is every member's"));
  } else if (request.member_id.empty()) {
    join_new(std::move(request), std::move(reply), now);
  } else {
    join_known(std::move(request), std::move(reply), now);
  }
}

std::string ClassicGroup::new_member_id(const JoinRequest& request) const {
  return fmt::format("{}-{}", request.instance_id.value_or(request.client_id),
                     Uuid::random().to_string());
}

void ClassicGroup::join_new(JoinRequest request, JoinReply reply, Clock::time_point now) {
  auto member_id = new_member_id(request);
  if (request.instance_id) {
    if (static_.contains(*request.instance_id)) {
      replace_static(std::move(request), std::move(member_id), std::move(reply), now);
    } else {
      add(std::move(member_id), std::move(request), std::move(reply), now);
    }
  } else if (request.knows_member_id_required) {
    pending_[member_id] = now + request.session_timeout;
    reply(refused(ErrorCode::kMemberIdRequired, member_id, "join again with this member id"));
  } else {
    add(std::move(member_id), std::move(request), std::move(reply), now);
  }
}

void ClassicGroup::join_known(JoinRequest request, JoinReply reply, Clock::time_point now) {
  if (!request.instance_id && pending_.contains(request.member_id)) {
    auto member_id = request.member_id;
    add(std::move(member_id), std::move(request), std::move(reply), now);
    return;
  }
  if (auto known = check_member(request.member_id, request.instance_id); !known) {
    reply(refused(known.error().code, request.member_id, known.error().text));
    return;
  }
  Member& member = members_.at(request.member_id);
  const bool same = same_protocols(member.protocols, request.protocols);
  const bool leads = member.id == leader_;
  // A member that comes again without news has missed an answer; the leader is different: it asks
  // for a new assignment, for reasons that its metadata need not show.
  const bool again = same && (state_ == State::kCompleting || (state_ == State::kStable && !leads));
  if (again) {
    member.expires = now + member.session_timeout;
    reply(joined(member));
    return;
  }
  update(member, std::move(request), std::move(reply));
  rebalance(now);
}

void ClassicGroup::add(std::string member_id, JoinRequest request, JoinReply reply,
                       Clock::time_point now) {
  pending_.erase(member_id);
  if (members_.empty()) protocol_type_ = request.protocol_type;
  if (leader_.empty()) leader_ = member_id;
  Member& member = members_[member_id];
  member.id = member_id;
  member.instance_id = request.instance_id;
  member.client_id = request.client_id;
  member.client_host = request.client_host;
  member.is_new = true;
  member.expires = now + kNewMemberTimeout;
  if (member.instance_id) static_[*member.instance_id] = member_id;
  if (state_ == State::kPreparing && initial_) more_came_ = true;
  update(member, std::move(request), std::move(reply));
  rebalance(now);
}

void ClassicGroup::update(Member& member, JoinRequest request, JoinReply reply) {
  member.session_timeout = request.session_timeout;
  member.rebalance_timeout = request.rebalance_timeout;
  member.protocols = std::move(request.protocols);
  if (member.join_reply) {  // the client asked again on another connection
    std::exchange(member.join_reply, nullptr)(
        refused(ErrorCode::kRebalanceInProgress, member.id, "the member has joined again"));
  }
  member.join_reply = std::move(reply);
}

JoinAnswer ClassicGroup::joined(const Member& member) const {
  JoinAnswer answer;
  answer.member_id = member.id;
  answer.generation = generation_;
  answer.protocol_type = protocol_type_;
  answer.protocol = protocol_;
  answer.leader = leader_;
  if (member.id != leader_) return answer;
  for (const auto& [id, each] : members_) {
    answer.members.push_back({id, each.instance_id, each.metadata_of(protocol_)});
  }
  return answer;
}

/// A static member has come back with nothing but its instance id: it takes its old place, and
/// while the group is stable nobody else needs to notice.
void ClassicGroup::replace_static(JoinRequest request, std::string member_id, JoinReply reply,
                                  Clock::time_point now) {
  const auto old_id = static_.at(*request.instance_id);
  auto node = members_.extract(old_id);
  Member before = std::move(node.mapped());
  const Error fenced{ErrorCode::kFencedInstance,
                     fmt::format("group {}: another client has this group.instance.id", id_)};
  if (before.join_reply) {
    std::exchange(before.join_reply, nullptr)(refused(fenced.code, old_id, fenced.text));
  }
  if (before.sync_reply) {
    SyncAnswer answer;
    answer.error = fenced;
    std::exchange(before.sync_reply, nullptr)(std::move(answer));
  }
  Member& member = members_[member_id];
  member.id = member_id;
  member.instance_id = before.instance_id;
  member.client_id = request.client_id;
  member.client_host = request.client_host;
  member.assignment = before.assignment;
  static_[*member.instance_id] = member_id;
  if (leader_ == old_id) leader_ = member_id;
  not_synced_.erase(old_id);
  const bool skips = request.knows_skip_assignment;
  update(member, std::move(request), std::move(reply));
  member.expires = now + member.session_timeout;
  if (state_ == State::kStable && select_protocol() == protocol_) {
    keep_replaced(std::move(before), member_id, skips);
  } else if (state_ == State::kPreparing) {
    maybe_complete(now);
  } else {
    rebalance(now);
  }
}

void ClassicGroup::keep_replaced(Member before, const std::string& new_id, bool skip_assignment) {
  Write write;
  write.entries.push_back(record(assignments()));
  write.done = [this, before = std::move(before), new_id,
                skip_assignment](const Result<>& kept) mutable {
    replaced(std::move(before), new_id, skip_assignment, kept);
  };
  writes_.push_back(std::move(write));
}

void ClassicGroup::replaced(Member before, const std::string& new_id, bool skip_assignment,
                            const Result<>& kept) {
  const auto at = members_.find(new_id);
  if (at == members_.end() || !at->second.join_reply) return;
  Member& member = at->second;
  if (!kept) {
    auto reply = std::exchange(member.join_reply, nullptr);
    if (leader_ == new_id) leader_ = before.id;
    static_[*before.instance_id] = before.id;
    before.expires = member.expires;
    members_.erase(at);
    const auto id = before.id;
    members_[id] = std::move(before);
    reply(refused(kept.error().code, "", kept.error().text));
    return;
  }
  // A rebalance that began meanwhile counts this join as one to it.
  if (state_ != State::kStable) return;
  JoinAnswer answer = joined(member);
  if (skip_assignment) {
    answer.skip_assignment = member.id == leader_;
  } else if (member.id == leader_) {
    // A client that does not know of KIP-814 would assign anew if it learnt that it leads.
    answer.leader = before.id;
    answer.members.clear();
  }
  std::exchange(member.join_reply, nullptr)(std::move(answer));
}

void ClassicGroup::sync(SyncRequest request, SyncReply reply, Clock::time_point now) {
  SyncAnswer answer;
  auto refuse = [&](ErrorCode code, std::string_view what) {
    answer.error = Error{code, fmt::format("group {}: {}", id_, what)};
    reply(std::move(answer));
  };
  const auto& caller = request.caller;
  if (auto known = check_member(caller.member_id, caller.instance_id); !known) {
    return refuse(known.error().code, known.error().text);
  }
  if (caller.generation != generation_) {
    return refuse(ErrorCode::kIllegalGeneration, "the generation is another");
  }
  if ((request.protocol_type && *request.protocol_type != protocol_type_) ||
      (request.protocol && *request.protocol != protocol_)) {
    return refuse(ErrorCode::kInconsistentProtocol, "the generation has another protocol");
  }
  Member& member = members_.at(caller.member_id);
  if (state_ == State::kPreparing) {
    return refuse(ErrorCode::kRebalanceInProgress, "it is being rebalanced");
  }
  not_synced_.erase(member.id);
  if (not_synced_.empty()) sync_deadline_.reset();
  if (state_ == State::kStable) {
    member.expires = now + member.session_timeout;
    answer.protocol_type = protocol_type_;
    answer.protocol = protocol_;
    answer.assignment = member.assignment;
    return reply(std::move(answer));
  }
  if (member.sync_reply) {
    SyncAnswer old;
    old.error = Error{ErrorCode::kRebalanceInProgress, "the member has asked again"};
    std::exchange(member.sync_reply, nullptr)(std::move(old));
  }
  member.sync_reply = std::move(reply);
  if (member.id == leader_) keep_assignment(std::move(request.assignments));
}

void ClassicGroup::keep_assignment(std::vector<SyncRequest::Assignment> assignments) {
  Assignment assignment;
  for (auto& each : assignments) {
    if (members_.contains(each.member_id)) {
      assignment[each.member_id] = std::move(each.assignment);
    }
  }
  Write write;
  write.entries.push_back(record(assignment));
  write.done = [this, generation = generation_, assignment = std::move(assignment)](
                   const Result<>& kept) { assignment_kept(generation, assignment, kept); };
  writes_.push_back(std::move(write));
}

Result<> ClassicGroup::heartbeat(const GroupCaller& caller, Clock::time_point now) {
  MR_TRY(check_member(caller.member_id, caller.instance_id));
  if (caller.generation != generation_) {
    return Error{ErrorCode::kIllegalGeneration,
                 fmt::format("group {} is in generation {}", id_, generation_)};
  }
  Member& member = members_.at(caller.member_id);
  member.expires = now + member.session_timeout;
  if (state_ == State::kPreparing) {
    return Error{ErrorCode::kRebalanceInProgress,
                 fmt::format("group {} is being rebalanced: join again", id_)};
  }
  return {};
}

Result<> ClassicGroup::check_commit(const GroupCaller& caller, bool transactional,
                                    Clock::time_point now) {
  // Who keeps offsets without being a member may do so while there are none.
  if (caller.generation < 0 && state_ == State::kEmpty) return {};
  if (caller.generation >= 0 || !caller.member_id.empty() || caller.instance_id) {
    MR_TRY(check_member(caller.member_id, caller.instance_id));
    if (caller.generation != generation_) {
      return Error{ErrorCode::kIllegalGeneration,
                   fmt::format("group {} is in generation {}", id_, generation_)};
    }
  } else if (!transactional && state_ != State::kEmpty) {
    return Error{ErrorCode::kUnknownMember,
                 fmt::format("group {} has members: only they commit its offsets", id_)};
  }
  if (transactional) return {};
  if (state_ == State::kCompleting) {
    return Error{ErrorCode::kRebalanceInProgress, fmt::format("group {} is being rebalanced", id_)};
  }
  if (const auto at = members_.find(caller.member_id); at != members_.end()) {
    at->second.expires = now + at->second.session_timeout;
  }
  return {};
}

Result<> ClassicGroup::check_member(const std::string& member_id,
                                    const std::optional<std::string>& instance_id) const {
  if (instance_id) {
    const auto at = static_.find(*instance_id);
    if (at != static_.end() && at->second != member_id) {
      return Error{ErrorCode::kFencedInstance, "another member has this group.instance.id"};
    }
    if (at == static_.end()) {
      return Error{ErrorCode::kUnknownMember, "no member has this group.instance.id"};
    }
  }
  if (!members_.contains(member_id)) {
    return Error{ErrorCode::kUnknownMember, "it has no such member"};
  }
  return {};
}

std::vector<Result<>> ClassicGroup::leave(const std::vector<LeavingMember>& members,
                                          Clock::time_point now) {
  std::vector<Result<>> outcomes;
  bool left = false;
  for (const auto& member : members) {
    outcomes.push_back(leave_one(member));
    left = left || outcomes.back();
  }
  if (!left) return outcomes;
  if (state_ == State::kPreparing) {
    maybe_complete(now);
  } else if (state_ != State::kEmpty) {
    rebalance(now);
  }
  return outcomes;
}

Result<> ClassicGroup::leave_one(const LeavingMember& member) {
  std::string id = member.member_id;
  if (id.empty()) {
    const auto at = member.instance_id ? static_.find(*member.instance_id) : static_.end();
    if (at == static_.end()) {
      return Error{ErrorCode::kUnknownMember, "no member has this group.instance.id"};
    }
    id = at->second;
  } else if (!pending_.contains(id)) {
    MR_TRY(check_member(id, member.instance_id));
  }
  logging::info("member left its group", {{"group", id_}, {"member", id}});
  drop(id);
  return {};
}

}  // namespace millrace::broker::detail

#include <fmt/format.h>

#include <algorithm>

#include "base/logging.h"
#include "broker/detail/classic_group.h"

namespace millrace::broker::detail {

// ---- the phases of a rebalance: Empty, Stable or CompletingRebalance -> PreparingRebalance
// (members join) -> CompletingRebalance (the leader assigns) -> Stable

/// Something has changed: begins a rebalance, or goes on with the one under way.
void ClassicGroup::rebalance(Clock::time_point now) {
  if (state_ == State::kPreparing) {
    maybe_complete(now);
  } else {
    prepare(now);
  }
}

void ClassicGroup::prepare(Clock::time_point now) {
  if (state_ == State::kCompleting) {
    for (auto& [id, member] : members_) member.assignment.clear();
    answer_syncs(Error{ErrorCode::kRebalanceInProgress,
                       fmt::format("group {} is being rebalanced: join again", id_)},
                 now);
  }
  not_synced_.clear();
  sync_deadline_.reset();
  initial_ = state_ == State::kEmpty;
  state_ = State::kPreparing;
  if (initial_) {
    more_came_ = false;
    const auto delay = options_.initial_rebalance_delay;
    initial_left_ = std::max(rebalance_timeout() - delay, std::chrono::milliseconds(0));
    join_deadline_ = now + delay;
  } else if (all_joined()) {
    complete(now);
  } else {
    join_deadline_ = now + rebalance_timeout();
  }
}

void ClassicGroup::maybe_complete(Clock::time_point now) {
  if (state_ == State::kPreparing && !initial_ && all_joined()) complete(now);
}

/// The time to join is over; or, at a group's beginning, none has come for a while.
void ClassicGroup::join_time_over(Clock::time_point now) {
  if (initial_ && more_came_ && initial_left_.count() > 0) {
    more_came_ = false;
    const auto delay = std::min(options_.initial_rebalance_delay, initial_left_);
    initial_left_ = std::max(initial_left_ - delay, std::chrono::milliseconds(0));
    join_deadline_ = now + delay;
    return;
  }
  complete(now);
}

/// Ends the joining: who has not come is out, but for static members, who have their session's time
/// to come back.
void ClassicGroup::complete(Clock::time_point now) {
  join_deadline_.reset();
  std::vector<std::string> missing;
  for (const auto& [id, member] : members_) {
    if (!member.join_reply && !member.instance_id) missing.push_back(id);
  }
  for (const auto& id : missing) {
    logging::info("member did not rejoin its group", {{"group", id_}, {"member", id}});
    drop(id);
  }
  if (!elect_leader() && !members_.empty()) {
    join_deadline_ = now + rebalance_timeout();
    return;
  }
  begin_generation(now);
}

/// Keeps the leader if it has joined; else makes one of those who have.
bool ClassicGroup::elect_leader() {
  const auto at = members_.find(leader_);
  if (at != members_.end() && at->second.join_reply) return true;
  for (const auto& [id, member] : members_) {
    if (!member.join_reply) continue;
    leader_ = id;
    return true;
  }
  return false;
}

void ClassicGroup::begin_generation(Clock::time_point now) {
  ++generation_;
  initial_ = false;
  not_synced_.clear();
  if (members_.empty()) {
    become_empty();
    return;
  }
  protocol_ = select_protocol();
  read_subscriptions();
  state_ = State::kCompleting;
  logging::info("group has a new generation", {{"group", id_},
                                               {"generation", generation_},
                                               {"members", members_.size()},
                                               {"protocol", protocol_},
                                               {"leader", leader_}});
  sync_deadline_ = now + rebalance_timeout();
  for (auto& [id, member] : members_) {
    not_synced_.insert(id);
    member.is_new = false;
    member.expires = now + member.session_timeout;
    if (member.join_reply) std::exchange(member.join_reply, nullptr)(joined(member));
  }
}

void ClassicGroup::become_empty() {
  state_ = State::kEmpty;
  protocol_.clear();
  leader_.clear();
  subscribed_.reset();
  sync_deadline_.reset();
  empty_since_ = env_.now_ms();
  logging::info("group is empty", {{"group", id_}, {"generation", generation_}});
  Write write;
  write.entries.push_back(record({}));
  write.done = [id = id_](const Result<>& kept) {
    // The generation before would come back with a restart, and its members time out.
    if (!kept) {
      logging::warn("cannot keep that a group is empty",
                    {{"group", id}, {"reason", kept.error().text}});
    }
  };
  writes_.push_back(std::move(write));
}

void ClassicGroup::assignment_kept(int32_t generation, const Assignment& assignment,
                                   const Result<>& kept) {
  if (state_ != State::kCompleting || generation != generation_) return;
  const auto now = Clock::now();
  if (!kept) {
    answer_syncs(kept.error(), now);
    rebalance(now);
    return;
  }
  for (auto& [id, member] : members_) {
    const auto at = assignment.find(id);
    member.assignment = at == assignment.end() ? std::string() : at->second;
  }
  state_ = State::kStable;
  answer_syncs(std::nullopt, now);
}

void ClassicGroup::answer_syncs(const std::optional<Error>& error, Clock::time_point now) {
  for (auto& [id, member] : members_) {
    if (!member.sync_reply) continue;
    member.expires = now + member.session_timeout;
    SyncAnswer answer;
    answer.error = error;
    if (!error) {
      answer.protocol_type = protocol_type_;
      answer.protocol = protocol_;
      answer.assignment = member.assignment;
    }
    std::exchange(member.sync_reply, nullptr)(std::move(answer));
  }
}

/// Members that joined the generation and never asked for their part of it are out.
void ClassicGroup::sync_expired(Clock::time_point now) {
  sync_deadline_.reset();
  if (not_synced_.empty()) return;
  for (const auto& id : std::exchange(not_synced_, {})) {
    logging::info("member did not fetch its assignment", {{"group", id_}, {"member", id}});
    drop(id);
  }
  prepare(now);
}

// ---- members and time

void ClassicGroup::drop(const std::string& member_id) {
  pending_.erase(member_id);
  not_synced_.erase(member_id);
  auto node = members_.extract(member_id);
  if (!node) return;
  Member& member = node.mapped();
  const Error unknown{ErrorCode::kUnknownMember, "the member was removed"};
  if (member.join_reply) {
    std::exchange(member.join_reply, nullptr)(refused(unknown.code, "", unknown.text));
  }
  if (member.sync_reply) {
    SyncAnswer answer;
    answer.error = unknown;
    std::exchange(member.sync_reply, nullptr)(std::move(answer));
  }
  if (member.instance_id) {
    const auto at = static_.find(*member.instance_id);
    if (at != static_.end() && at->second == member_id) static_.erase(at);
  }
  if (leader_ == member_id) leader_ = members_.empty() ? "" : members_.begin()->first;
}

void ClassicGroup::expire(const std::string& member_id, Clock::time_point now) {
  logging::info("member was not heard of", {{"group", id_}, {"member", member_id}});
  drop(member_id);
  if (state_ == State::kStable || state_ == State::kCompleting) {
    prepare(now);
  } else if (state_ == State::kPreparing && all_joined()) {
    complete(now);
  }
}

std::optional<Clock::time_point> ClassicGroup::deadline() const {
  std::optional<Clock::time_point> first;
  auto consider = [&](Clock::time_point at) { first = first ? std::min(*first, at) : at; };
  for (const auto& [id, at] : pending_) consider(at);
  for (const auto& [id, member] : members_) {
    if (member.may_expire()) consider(member.expires);
  }
  if (join_deadline_) consider(*join_deadline_);
  if (sync_deadline_) consider(*sync_deadline_);
  return first;
}

void ClassicGroup::tick(Clock::time_point now) {
  const auto none_pending = [&] {
    return std::erase_if(pending_, [&](const auto& each) { return each.second <= now; }) > 0;
  };
  if (none_pending()) maybe_complete(now);
  while (true) {
    const auto late = std::ranges::find_if(members_, [&](const auto& each) {
      return each.second.may_expire() && each.second.expires <= now;
    });
    if (late == members_.end()) break;
    expire(std::string(late->first), now);
  }
  if (join_deadline_ && *join_deadline_ <= now) join_time_over(now);
  if (sync_deadline_ && *sync_deadline_ <= now) sync_expired(now);
}

void ClassicGroup::refuse_all(const Error& why) {
  for (auto& [id, member] : members_) {
    if (member.join_reply) {
      std::exchange(member.join_reply, nullptr)(refused(why.code, id, why.text));
    }
    if (!member.sync_reply) continue;
    SyncAnswer answer;
    answer.error = why;
    std::exchange(member.sync_reply, nullptr)(std::move(answer));
  }
}

size_t ClassicGroup::joined_count() const {
  return static_cast<size_t>(std::ranges::count_if(
      members_, [](const auto& each) { return static_cast<bool>(each.second.join_reply); }));
}

std::chrono::milliseconds ClassicGroup::rebalance_timeout() const {
  std::chrono::milliseconds longest{};
  for (const auto& [id, member] : members_) longest = std::max(longest, member.rebalance_timeout);
  return longest;
}

/// Of the protocols that all members have, the one that most of them prefer; among equals the
/// leader's choice.
std::string ClassicGroup::select_protocol() const {
  auto common = [&](const std::string& name) {
    return std::ranges::all_of(members_, [&](const auto& each) { return each.second.has(name); });
  };
  std::map<std::string, size_t> votes;
  for (const auto& [id, member] : members_) {
    const auto first = std::ranges::find_if(
        member.protocols, [&](const GroupProtocol& each) { return common(each.name); });
    if (first != member.protocols.end()) ++votes[first->name];
  }
  size_t most = 0;
  for (const auto& [name, count] : votes) most = std::max(most, count);
  const auto leader = members_.find(leader_);
  if (leader != members_.end()) {
    for (const auto& each : leader->second.protocols) {
      const auto at = votes.find(each.name);
      if (at != votes.end() && at->second == most) return each.name;
    }
  }
  for (const auto& [name, count] : votes) {
    if (count == most) return name;
  }
  return {};
}

void ClassicGroup::read_subscriptions() {
  subscribed_.reset();
  if (protocol_type_ != "consumer") return;
  std::set<std::string> topics;
  for (const auto& [id, member] : members_) {
    const auto its = read_subscription(member.metadata_of(protocol_));
    if (!its) return;
    topics.insert(its->begin(), its->end());
  }
  subscribed_ = std::move(topics);
}

std::optional<bool> ClassicGroup::subscribed(std::string_view topic) const {
  if (state_ == State::kEmpty) return false;
  if (protocol_type_ != "consumer") return std::nullopt;
  return !subscribed_ || subscribed_->contains(std::string(topic));
}

std::optional<TimestampMs> ClassicGroup::retention_start(std::string_view topic,
                                                         TimestampMs committed) const {
  if (state_ == State::kEmpty) return empty_since_ < 0 ? committed : empty_since_;
  if (state_ == State::kStable && subscribed_ && !subscribed_->contains(std::string(topic))) {
    return committed;
  }
  return std::nullopt;
}

void ClassicGroup::describe(GroupInfo& out) const {
  constexpr const char* kNames[] = {"Empty", "PreparingRebalance", "CompletingRebalance", "Stable"};
  const bool stable = state_ == State::kStable;
  out.state = kNames[static_cast<size_t>(state_)];
  out.protocol_type = protocol_type_;
  if (stable) out.protocol = protocol_;
  out.generation = generation_;
  for (const auto& [id, member] : members_) {
    auto& info = out.members.emplace_back();
    info.member_id = id;
    info.instance_id = member.instance_id;
    info.client_id = member.client_id;
    info.client_host = member.client_host;
    if (!stable) continue;  // what was agreed on no longer holds, or not yet
    info.metadata = member.metadata_of(protocol_);
    info.assignment = member.assignment;
    if (protocol_type_ != "consumer") continue;
    if (auto assigned = read_assignment(member.assignment)) info.assigned = std::move(*assigned);
  }
}

}  // namespace millrace::broker::detail

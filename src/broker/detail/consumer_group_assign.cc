#include <algorithm>

#include "broker/detail/assignors.h"
#include "broker/detail/consumer_group.h"
#include "broker/detail/partition_set.h"

// What members are subscribed to, who should have what, and how each is led there.
namespace millrace::broker::detail {

namespace {

/// Of what a group is subscribed to: another value when a topic comes, goes or grows. FNV-1a.
uint64_t hash_of(const std::map<Uuid, int32_t>& counts) {
  uint64_t hash = 0xcbf29ce484222325;
  const auto mix = [&](uint8_t byte) { hash = (hash ^ byte) * 0x100000001b3; };
  for (const auto& [topic, count] : counts) {
    for (const uint8_t byte : topic.bytes) mix(byte);
    for (int shift = 0; shift < 32; shift += 8) mix(static_cast<uint8_t>(count >> shift));
  }
  return hash;
}

}  // namespace

// ---- subscriptions

const std::set<std::string, std::less<>>& ConsumerGroup::resolve(const std::string& regex) {
  auto& resolved = regexes_[regex];
  if (resolved.version == topics_->version()) return resolved.names;
  resolved.version = topics_->version();
  resolved.names.clear();
  // It was parsed when the member said it first.
  if (const auto pattern = TopicPattern::parse(regex)) {
    for (const auto& topic : topics_->list()) {
      if (pattern->matches(topic.name)) resolved.names.insert(topic.name);
    }
  }
  return resolved.names;
}

std::vector<Uuid> ConsumerGroup::topics_of(const ConsumerMember& member) {
  std::vector<Uuid> out;
  const auto add = [&](const std::string& name) {
    if (const auto* topic = topics_->find(name)) out.push_back(topic->id);
  };
  for (const auto& name : member.topic_names) add(name);
  if (!member.topic_regex.empty()) {
    for (const auto& name : resolve(member.topic_regex)) add(name);
  }
  std::ranges::sort(out);
  const auto rest = std::ranges::unique(out);
  out.erase(rest.begin(), rest.end());
  return out;
}

std::map<Uuid, int32_t> ConsumerGroup::subscriptions() {
  std::map<Uuid, int32_t> out;
  std::set<std::string_view> patterns;
  const ConsumerMember* last = nullptr;
  for (const auto& [id, slot] : members_) {
    const ConsumerMember& member = slot.member;
    // Most members of a group are subscribed alike.
    if (last && last->topic_names == member.topic_names && last->topic_regex == member.topic_regex)
      continue;
    last = &member;
    patterns.insert(member.topic_regex);
    for (const Uuid& topic : topics_of(member)) out[topic] = topics_->find(topic)->partitions;
  }
  std::erase_if(regexes_, [&](const auto& regex) { return !patterns.contains(regex.first); });
  return out;
}

void ConsumerGroup::refresh(bool changed) {
  if (!changed && topics_->version() == seen_version_) return;
  seen_version_ = topics_->version();
  const uint64_t hash = hash_of(subscriptions());
  if (!changed && hash == topics_hash_) return;
  topics_hash_ = hash;
  ++epoch_;
  group_dirty_ = true;
}

// ---- who should have what

std::string_view ConsumerGroup::preferred_assignor() const {
  std::map<std::string_view, size_t> votes;
  for (const auto& [id, slot] : members_) {
    if (!slot.member.assignor.empty()) ++votes[slot.member.assignor];
  }
  if (votes.empty()) return kDefaultAssignor;
  return std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; })->first;
}

void ConsumerGroup::assign() {
  std::vector<AssignorMember> members;
  members.reserve(members_.size());
  const ConsumerMember* last = nullptr;
  for (const auto& [id, slot] : members_) {
    const ConsumerMember& member = slot.member;
    AssignorMember& told = members.emplace_back();
    told.id = id;
    if (member.instance_id) told.instance_id = *member.instance_id;
    told.before = &member.target;
    const bool alike =
        last && last->topic_names == member.topic_names && last->topic_regex == member.topic_regex;
    told.topics = alike ? members[members.size() - 2].topics : topics_of(member);
    last = &member;
  }
  const Assignor* assignor = find_assignor(preferred_assignor());
  assignor_ = assignor->name;
  auto targets = assignor->assign(members, subscriptions());
  size_t i = 0;
  for (auto& [id, slot] : members_) {
    PartitionSet& target = targets[i++];
    if (target == slot.member.target) continue;
    slot.member.target = std::move(target);
    dirty_.insert(id);
  }
  assignment_epoch_ = epoch_;
  group_dirty_ = true;
}

// ---- from what a member has to what it should have

void ConsumerGroup::set_owned(const PartitionSet& partitions, bool owned) {
  for (const auto& [topic, list] : partitions) {
    auto& flags = owned_[topic];
    const auto size = static_cast<size_t>(list.back()) + 1;
    if (flags.size() < size) flags.resize(size);
    for (const int32_t p : list) flags[static_cast<size_t>(p)] = owned;
    if (!owned && std::ranges::find(flags, true) == flags.end()) owned_.erase(topic);
  }
}

bool ConsumerGroup::is_owned(const Uuid& topic, int32_t partition) const {
  const auto at = owned_.find(topic);
  return at != owned_.end() && static_cast<size_t>(partition) < at->second.size() &&
         at->second[static_cast<size_t>(partition)];
}

bool ConsumerGroup::is_stable(const ConsumerMember& member) const {
  return member.state == ConsumerMember::State::kStable && member.epoch == assignment_epoch_;
}

void ConsumerGroup::reconcile(Slot& slot, const std::optional<PartitionSet>& owned,
                              Clock::time_point now) {
  ConsumerMember& member = slot.member;
  if (is_stable(member)) return;
  if (member.state != ConsumerMember::State::kUnrevoked) {
    return follow_target(slot, member.epoch, owned, now);
  }
  if (!owned || intersects(*owned, member.revoking)) return;
  set_owned(member.revoking, false);
  member.revoking.clear();
  // By a new epoch the member's commits for what it gave up are told from those before.
  follow_target(slot, member.epoch + 1, owned, now);
}

void ConsumerGroup::follow_target(Slot& slot, int32_t epoch,
                                  const std::optional<PartitionSet>& owned, Clock::time_point now) {
  using State = ConsumerMember::State;
  ConsumerMember& member = slot.member;
  const auto enter_epoch = [&](int32_t next) {
    if (next == member.epoch) return;
    member.previous_epoch = member.epoch;
    member.epoch = next;
  };
  PartitionSet kept = intersection(member.assigned, member.target);
  PartitionSet revoking = difference(member.assigned, kept);
  if (!revoking.empty() && (!owned || intersects(*owned, revoking))) {
    member.state = State::kUnrevoked;
    member.assigned = std::move(kept);
    member.revoking = std::move(revoking);
    enter_epoch(epoch);
    slot.rebalance_end = now + member.rebalance_timeout;
    wake_at(*slot.rebalance_end);
    return;
  }
  set_owned(revoking, false);
  PartitionSet gained;
  bool waits = false;
  for (const auto& [topic, partitions] : difference(member.target, kept)) {
    for (const int32_t p : partitions) {
      if (is_owned(topic, p)) {
        waits = true;
      } else {
        gained[topic].push_back(p);
      }
    }
  }
  set_owned(gained, true);
  member.assigned = sum(kept, gained);
  member.state = waits ? State::kUnreleased : State::kStable;
  enter_epoch(assignment_epoch_);
  slot.rebalance_end.reset();
}

}  // namespace millrace::broker::detail

#include <fmt/format.h>

#include <algorithm>

#include "broker/detail/classic_group.h"
#include "broker/detail/consumer_group.h"
#include "broker/detail/partition_set.h"

// Members that speak the classic protocol in a group of the consumer protocol. Source: KIP-848,
// "online migration"; Kafka's GroupMetadataManager.
namespace millrace::broker::detail {

namespace {

constexpr const char* kConsumerType = "consumer";

PartitionSet by_id(const std::vector<TopicPartition>& partitions, const TopicsImage& topics) {
  PartitionSet out;
  for (const auto& [name, partition] : partitions) {
    const auto* topic = topics.find(name);
    // What does not exist any more nobody else can be given.
    if (topic && partition >= 0 && partition < topic->partitions) {
      out[topic->id].push_back(partition);
    }
  }
  return normal(std::move(out));
}

std::vector<std::pair<std::string, std::string>> pairs(
    const std::vector<GroupProtocol>& protocols) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [name, metadata] : protocols) out.emplace_back(name, metadata);
  return out;
}

JoinAnswer refused(Error error, std::string member_id) {
  JoinAnswer answer;
  answer.error = std::move(error);
  answer.member_id = std::move(member_id);
  return answer;
}

Error inconsistent(std::string_view group) {
  return {ErrorCode::kInconsistentProtocol,
          fmt::format("group {} is of consumers, by other protocols than the member's", group)};
}

}  // namespace

std::shared_ptr<ConsumerGroup> ConsumerGroup::upgrade(std::string id, const ClassicGroup& classic,
                                                      const Topics& topics, size_t members_max,
                                                      Clock::time_point now) {
  const auto consumers = classic.consumers();
  if (!consumers) return nullptr;
  auto group = std::make_shared<ConsumerGroup>(std::move(id), members_max);
  group->epoch_ = group->assignment_epoch_ = classic.generation();
  group->group_dirty_ = true;
  for (const auto& consumer : *consumers) {
    ConsumerMember member;
    member.id = consumer.id;
    member.instance_id = consumer.instance_id;
    member.client_id = consumer.client_id;
    member.client_host = consumer.client_host;
    member.rebalance_timeout = consumer.rebalance_timeout;
    member.topic_names = consumer.topics;
    std::ranges::sort(member.topic_names);
    member.epoch = member.previous_epoch = classic.generation();
    member.assigned = member.target = by_id(consumer.assigned, *topics);
    member.classic = {consumer.session_timeout, pairs(consumer.protocols)};
    if (member.instance_id) group->static_members_[*member.instance_id] = member.id;
    group->dirty_.insert(member.id);
    group->members_[member.id].member = std::move(member);
  }
  group->resume(topics, now);
  return group;
}

Result<ConsumerGroup::Slot*> ConsumerGroup::enter_classic(const JoinRequest& request,
                                                          const std::string& id) {
  if (request.instance_id) {
    if (Slot* old = find_static(*request.instance_id)) {
      // Without a member id it takes the place over, with one it must be the one that has it.
      if (request.member_id.empty()) return &replace(*old, id);
      if (old->member.id == id) return old;
      return Error{ErrorCode::kFencedInstance,
                   fmt::format("Static member {} with instance id {} was fenced by member {}.", id,
                               *request.instance_id, old->member.id)};
    }
  }
  if (const auto at = members_.find(id); at != members_.end()) return &at->second;
  if (members_.size() >= members_max_) {
    return Error{ErrorCode::kGroupFull,
                 fmt::format("group {} has as many members as it may: {}", id_, members_max_)};
  }
  Slot& slot = members_[id];
  slot.member.id = id;
  return &slot;
}

JoinAnswer ConsumerGroup::join_classic(const JoinRequest& request, const std::string& new_id,
                                       const Topics& topics, Clock::time_point now) {
  topics_ = topics;
  const std::string& id = request.member_id.empty() ? new_id : request.member_id;
  if (request.protocol_type != kConsumerType || request.protocols.empty()) {
    return refused(inconsistent(id_), id);
  }
  const auto& metadata = request.protocols.front().metadata;
  auto names = read_subscription(metadata);
  const auto says = read_owned(metadata);
  if (!names || !says) return refused(inconsistent(id_), id);
  if (request.member_id.empty() && request.knows_member_id_required && !request.instance_id) {
    return refused({ErrorCode::kMemberIdRequired, "join again with the member id"}, id);
  }
  auto entered = enter_classic(request, id);
  if (!entered) return refused(entered.error(), id);
  Slot& slot = **entered;
  ConsumerMember& member = slot.member;
  const ConsumerMember before = member;
  if (request.instance_id) {
    member.instance_id = request.instance_id;
    static_members_[*request.instance_id] = id;
  }
  member.client_id = request.client_id;
  member.client_host = request.client_host;
  member.rebalance_timeout = request.rebalance_timeout;
  member.topic_regex.clear();
  std::ranges::sort(*names);
  member.topic_names = std::move(*names);
  member.classic = {request.session_timeout, pairs(request.protocols)};
  refresh(std::exchange(slot.fresh, false) || member.topic_names != before.topic_names ||
          member.topic_regex != before.topic_regex);
  if (epoch_ > assignment_epoch_) assign();
  slot.rebalance_end.reset();
  reconcile(slot, by_id(*says, *topics_), now);
  if (member != before) dirty_.insert(id);
  slot.session_end = now + request.session_timeout;
  wake_at(slot.session_end);

  JoinAnswer answer;
  answer.member_id = id;
  answer.generation = member.epoch;
  answer.protocol_type = kConsumerType;
  answer.protocol = request.protocols.front().name;
  return answer;
}

Result<ConsumerGroup::Slot*> ConsumerGroup::known_classic(const GroupCaller& caller) {
  ConsumerHeartbeat request;
  request.member_id = caller.member_id;
  request.instance_id = caller.instance_id;
  request.member_epoch = kLeaveEpoch;  // whatever its epoch
  MR_TRY(Slot * slot, known_member(request));
  if (!slot->member.classic) {
    return Error{ErrorCode::kUnknownMember,
                 fmt::format("Member {} does not use the classic protocol.", caller.member_id)};
  }
  if (slot->member.epoch != caller.generation) {
    return Error{ErrorCode::kIllegalGeneration,
                 fmt::format("The generation {} is not the member's epoch {}.", caller.generation,
                             slot->member.epoch)};
  }
  return slot;
}

SyncAnswer ConsumerGroup::sync_classic(const SyncRequest& request, const Topics& topics,
                                       Clock::time_point now) {
  topics_ = topics;
  SyncAnswer answer;
  auto known = known_classic(request.caller);
  if (!known) {
    answer.error = known.error();
    return answer;
  }
  Slot& slot = **known;
  slot.session_end = now + slot.member.classic->session_timeout;
  wake_at(slot.session_end);
  const auto& protocol = slot.member.classic->protocols.front().first;
  if ((request.protocol_type && *request.protocol_type != kConsumerType) ||
      (request.protocol && *request.protocol != protocol)) {
    answer.error = inconsistent(id_);
    return answer;
  }
  std::vector<TopicPartition> partitions;
  for (const auto& [id, list] : slot.member.assigned) {
    const auto* topic = topics_->find(id);
    if (!topic) continue;
    for (const int32_t p : list) partitions.push_back({topic->name, p});
  }
  std::ranges::sort(partitions);
  answer.protocol_type = kConsumerType;
  answer.protocol = protocol;
  answer.assignment = write_assignment(partitions);
  return answer;
}

bool ConsumerGroup::must_rejoin(const ConsumerMember& member) const {
  using State = ConsumerMember::State;
  if (member.epoch < epoch_ || member.state == State::kUnrevoked) return true;
  if (member.state != State::kUnreleased) return false;
  for (const auto& [topic, partitions] : difference(member.target, member.assigned)) {
    for (const int32_t p : partitions) {
      if (!is_owned(topic, p)) return true;
    }
  }
  return false;
}

Result<> ConsumerGroup::heartbeat_classic(const GroupCaller& caller, const Topics& topics,
                                          Clock::time_point now) {
  topics_ = topics;
  MR_TRY(Slot * slot, known_classic(caller));
  refresh(false);
  const auto& member = slot->member;
  slot->session_end = now + member.classic->session_timeout;
  wake_at(slot->session_end);
  if (!must_rejoin(member)) return {};
  if (!slot->rebalance_end) {
    slot->rebalance_end = now + member.rebalance_timeout;
    wake_at(*slot->rebalance_end);
  }
  return Error{ErrorCode::kRebalanceInProgress,
               fmt::format("group {} is being rebalanced: join again", id_)};
}

}  // namespace millrace::broker::detail

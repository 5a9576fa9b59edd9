#include <fmt/format.h>

#include "broker/detail/classic_group.h"
#include "broker/detail/consumer_group.h"
#include "broker/detail/groups_impl.h"

// The consumer protocol's calls.
namespace millrace::broker::detail {

namespace {

constexpr auto kLook = std::chrono::hours(1);

Error not_found(std::string_view group) {
  return Error{ErrorCode::kGroupNotFound, fmt::format("Consumer group {} not found.", group)};
}

}  // namespace

Result<ConsumerGroup*> GroupsImpl::consumer_group_for(const ConsumerHeartbeat& request) {
  const std::string& id = request.group;
  Entry* entry = find(id);
  if (entry && entry->group->type() == GroupType::kConsumer) {
    return static_cast<ConsumerGroup*>(entry->group.get());
  }
  if (request.member_epoch != kJoinEpoch) return not_found(id);
  auto group = std::make_shared<ConsumerGroup>(id, options_.members_max);
  if (entry && !entry->group->empty()) {
    // Its members go on as they are, and are led into the new protocol's epochs from here.
    const auto now = Clock::now();
    const auto& classic = static_cast<const ClassicGroup&>(*entry->group);
    group = ConsumerGroup::upgrade(id, classic, topics_watch_.image(now, true),
                                   options_.members_max, now);
    if (!group) {
      return Error{ErrorCode::kGroupNotFound, fmt::format("Group {} is not a consumer group.", id)};
    }
    entry->group->refuse_all({ErrorCode::kRebalanceInProgress, "join again"});
  }
  if (!entry) entry = &find_or_make(id);
  replace(id, *entry, group);
  return group.get();
}

io::Task<Result<>> GroupsImpl::written(std::string id, ConsumerGroup& group) {
  io::Signal ended(home_);
  std::optional<Result<>> outcome;
  group.when_written([&](const Result<>& told) {
    outcome = told;
    ended.notify_all();
  });
  if (Entry* entry = find(id)) after(id, *entry);
  while (!outcome) co_await ended.wait_until(Clock::now() + kLook);
  co_return *outcome;
}

io::Task<Result<ConsumerHeartbeatAnswer>> GroupsImpl::consumer_heartbeat_here(
    ConsumerHeartbeat request) {
  Inside inside(gate_);
  if (!inside || stopping_) co_return stopping();
  MR_CO_TRY(ConsumerGroup::validate(request));
  if (request.member_id.empty()) request.member_id = Uuid::random().to_string();
  MR_CO_TRY(ConsumerGroup* const group, consumer_group_for(request));
  const auto now = Clock::now();
  const bool joins = request.member_epoch == kJoinEpoch;
  auto answer = group->heartbeat(request, topics_watch_.image(now, joins), now);
  if (!answer) {
    forget_if_idle(request.group);
    co_return answer;
  }
  // What a member is told must outlive the node: else, after a restart, another could be told the
  // same.
  MR_CO_TRY(co_await written(request.group, *group));
  co_return answer;
}

io::Task<JoinAnswer> GroupsImpl::join_consumers(JoinRequest request) {
  const std::string id = request.group;
  auto& group = static_cast<ConsumerGroup&>(*find(id)->group);
  const auto now = Clock::now();
  auto answer =
      group.join_classic(request, Uuid::random().to_string(), topics_watch_.image(now, true), now);
  if (auto kept = co_await written(id, group); !kept) answer.error = kept.error();
  co_return answer;
}

SyncAnswer GroupsImpl::sync_consumers(const SyncRequest& request) {
  Entry& entry = *find(request.group);
  const auto now = Clock::now();
  auto answer = static_cast<ConsumerGroup&>(*entry.group)
                    .sync_classic(request, topics_watch_.image(now, false), now);
  after(request.group, entry);
  return answer;
}

Result<> GroupsImpl::heartbeat_consumers(const std::string& group, const GroupCaller& caller) {
  Entry& entry = *find(group);
  const auto now = Clock::now();
  auto heard = static_cast<ConsumerGroup&>(*entry.group)
                   .heartbeat_classic(caller, topics_watch_.image(now, false), now);
  after(group, entry);
  return heard;
}

io::Task<Result<ConsumerGroupInfo>> GroupsImpl::describe_consumer_here(std::string group) {
  const Entry* entry = find(group);
  if (!entry) co_return not_found(group);
  if (entry->group->type() != GroupType::kConsumer) {
    co_return Error{ErrorCode::kGroupNotFound,
                    fmt::format("Group {} is not a consumer group.", group)};
  }
  co_return static_cast<const ConsumerGroup&>(*entry->group).info();
}

io::Task<Result<ConsumerHeartbeatAnswer>> GroupsImpl::heartbeat(ConsumerHeartbeat request) {
  return home_.call(consumer_heartbeat_here(std::move(request)));
}
io::Task<Result<ConsumerGroupInfo>> GroupsImpl::describe_consumer(std::string group) {
  return home_.call(describe_consumer_here(std::move(group)));
}

}  // namespace millrace::broker::detail

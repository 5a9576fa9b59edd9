#include <fmt/format.h>

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
  if (!entry || entry->group->type() != GroupType::kConsumer) {
    if (request.member_epoch != kJoinEpoch) return not_found(id);
    if (entry && !entry->group->empty()) {
      return Error{ErrorCode::kGroupNotFound,
                   fmt::format("The members of group {} use the classic protocol "
                               "(group.protocol=classic): stop them first.",
                               id)};
    }
    if (!entry) entry = &find_or_make(id);
    replace(id, *entry, std::make_shared<ConsumerGroup>(id, options_.members_max));
  }
  return static_cast<ConsumerGroup*>(entry->group.get());
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
  io::Signal ended(home_);
  std::optional<Result<>> written;
  group->when_written([&](const Result<>& outcome) {
    written = outcome;
    ended.notify_all();
  });
  after(request.group, *find(request.group));
  while (!written) co_await ended.wait_until(Clock::now() + kLook);
  if (!*written) co_return written->error();
  co_return answer;
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

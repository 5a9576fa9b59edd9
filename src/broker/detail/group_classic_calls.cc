#include <fmt/format.h>

#include "broker/detail/classic_group.h"
#include "broker/detail/groups_impl.h"

// The classic protocol's calls: they find the group, and wait for what it answers.
namespace millrace::broker::detail {

namespace {

constexpr auto kLook = std::chrono::hours(1);

/// Where a call waits for the group's answer, which comes on the home shard.
template <typename Answer>
struct Waiting {
  explicit Waiting(io::Shard& home) : changed(home) {}
  io::Signal changed;
  std::optional<Answer> answer;
  bool gone = false;
};

template <typename Answer>
io::Task<Answer> answer_of(io::Shard& home, std::shared_ptr<Waiting<Answer>> waiting,
                           std::stop_token gone) {
  std::stop_callback on_gone(gone, [&home, waiting] {
    home.post([waiting] {
      waiting->gone = true;
      waiting->changed.notify_all();
    });
  });
  while (!waiting->answer && !waiting->gone) {
    co_await waiting->changed.wait_until(Clock::now() + kLook);
  }
  if (waiting->answer) co_return std::move(*waiting->answer);
  Answer answer;
  answer.error = Error{ErrorCode::kCancelled, "the client has gone"};
  co_return answer;
}

template <typename Answer>
auto answer_to(std::shared_ptr<Waiting<Answer>> waiting) {
  return [waiting = std::move(waiting)](Answer answer) {
    waiting->answer = std::move(answer);
    waiting->changed.notify_all();
  };
}

JoinAnswer refused(ErrorCode code, std::string member_id, std::string text) {
  JoinAnswer answer;
  answer.error = Error{code, std::move(text)};
  answer.member_id = std::move(member_id);
  return answer;
}

Error no_group_id() {
  return Error{ErrorCode::kInvalidGroup, "a group's id is at least one character"};
}
Error no_member(std::string_view group) {
  return Error{ErrorCode::kUnknownMember, fmt::format("group {} has no such member", group)};
}

}  // namespace

io::Task<JoinAnswer> GroupsImpl::join_here(JoinRequest request, std::stop_token gone) {
  Inside inside(gate_);
  if (!inside || stopping_) {
    co_return refused(ErrorCode::kShuttingDown, request.member_id, "the node is stopping");
  }
  if (request.group.empty()) {
    auto error = no_group_id();
    co_return refused(error.code, request.member_id, error.text);
  }
  if (request.session_timeout < options_.session_timeout_min ||
      request.session_timeout > options_.session_timeout_max) {
    co_return refused(
        ErrorCode::kInvalidSessionTimeout, request.member_id,
        fmt::format("a session timeout of {} ms: {} to {} ms are allowed",
                    request.session_timeout.count(), options_.session_timeout_min.count(),
                    options_.session_timeout_max.count()));
  }
  const std::string id = request.group;
  Entry* entry = find(id);
  if (!entry && !request.member_id.empty()) {
    co_return refused(ErrorCode::kUnknownMember, request.member_id, no_member(id).text);
  }
  if (entry && entry->group->type() != GroupType::kClassic) {
    if (!entry->group->empty()) co_return co_await join_consumers(std::move(request));
    replace(id, *entry, std::make_shared<ClassicGroup>(id, env_, options_));
  }
  if (!entry) entry = &find_or_make(id);
  auto waiting = std::make_shared<Waiting<JoinAnswer>>(home_);
  static_cast<ClassicGroup&>(*entry->group)
      .join(std::move(request), answer_to(waiting), Clock::now());
  after(id, *entry);
  forget_if_idle(id);
  co_return co_await answer_of(home_, std::move(waiting), std::move(gone));
}

io::Task<SyncAnswer> GroupsImpl::sync_here(SyncRequest request, std::stop_token gone) {
  SyncAnswer answer;
  Inside inside(gate_);
  if (!inside || stopping_) {
    answer.error = stopping();
    co_return answer;
  }
  const std::string id = request.group;
  Entry* entry = find(id);
  if (id.empty()) {
    answer.error = no_group_id();
    co_return answer;
  }
  if (!entry) {
    answer.error = no_member(id);
    co_return answer;
  }
  if (entry->group->type() == GroupType::kConsumer) co_return sync_consumers(request);
  auto waiting = std::make_shared<Waiting<SyncAnswer>>(home_);
  static_cast<ClassicGroup&>(*entry->group)
      .sync(std::move(request), answer_to(waiting), Clock::now());
  after(id, *entry);
  co_return co_await answer_of(home_, std::move(waiting), std::move(gone));
}

io::Task<Result<>> GroupsImpl::heartbeat_here(std::string group, GroupCaller caller) {
  if (group.empty()) co_return no_group_id();
  Entry* entry = find(group);
  if (!entry) co_return no_member(group);
  if (entry->group->type() == GroupType::kConsumer) co_return heartbeat_consumers(group, caller);
  co_return static_cast<ClassicGroup&>(*entry->group).heartbeat(caller, Clock::now());
}

io::Task<Result<GroupsImpl::Outcomes>> GroupsImpl::leave_here(std::string group,
                                                              std::vector<LeavingMember> members) {
  if (group.empty()) co_return no_group_id();
  Entry* entry = find(group);
  if (!entry) {
    Outcomes outcomes;
    for (size_t i = 0; i < members.size(); ++i) outcomes.push_back(no_member(group));
    co_return outcomes;
  }
  auto outcomes = entry->group->leave(members, Clock::now());
  after(group, *entry);
  co_return outcomes;
}

io::Task<JoinAnswer> GroupsImpl::join(JoinRequest request, std::stop_token gone) {
  return home_.call(join_here(std::move(request), std::move(gone)));
}
io::Task<SyncAnswer> GroupsImpl::sync(SyncRequest request, std::stop_token gone) {
  return home_.call(sync_here(std::move(request), std::move(gone)));
}
io::Task<Result<>> GroupsImpl::heartbeat(std::string group, GroupCaller caller) {
  return home_.call(heartbeat_here(std::move(group), std::move(caller)));
}
io::Task<Result<std::vector<Result<>>>> GroupsImpl::leave(std::string group,
                                                          std::vector<LeavingMember> members) {
  return home_.call(leave_here(std::move(group), std::move(members)));
}

}  // namespace millrace::broker::detail

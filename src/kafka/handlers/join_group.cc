#include "kafka/handlers/group_codes.h"
#include "kafka/handlers/group_reader.h"
#include "kafka/handlers/group_wait.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

namespace {

constexpr int16_t kHasRebalanceTimeout = 1;
constexpr int16_t kKnowsMemberIdRequired = 4;
constexpr int16_t kKnowsNoProtocol = 7;
constexpr int16_t kKnowsSkipAssignment = 9;

broker::JoinRequest take_request(const Context& context, JoinGroupRequest request) {
  using std::chrono::milliseconds;
  broker::JoinRequest join;
  join.group = std::move(request.group_id);
  join.member_id = std::move(request.member_id);
  join.instance_id = std::move(request.group_instance_id);
  join.client_id = context.header.client_id.value_or(std::string());
  join.client_host = client_host(context);
  join.session_timeout = milliseconds(request.session_timeout_ms);
  const bool says = context.version() >= kHasRebalanceTimeout && request.rebalance_timeout_ms >= 0;
  join.rebalance_timeout = says ? milliseconds(request.rebalance_timeout_ms) : join.session_timeout;
  join.protocol_type = std::move(request.protocol_type);
  for (auto& protocol : request.protocols) {
    join.protocols.push_back({std::move(protocol.name), std::move(protocol.metadata)});
  }
  join.knows_member_id_required = context.version() >= kKnowsMemberIdRequired;
  join.knows_skip_assignment = context.version() >= kKnowsSkipAssignment;
  return join;
}

}  // namespace

io::Task<JoinGroupResponse> join_group(Context& context, JoinGroupRequest request) {
  note_group(context, request.group_id, true);
  auto join = take_request(context, std::move(request));
  UntilGone gone(context);
  auto answer = co_await context.groups().join(std::move(join), gone.token());
  JoinGroupResponse response;
  if (answer.error) response.error_code = group_code(*answer.error);
  response.generation_id = answer.generation;
  response.protocol_type = std::move(answer.protocol_type);
  response.protocol_name = std::move(answer.protocol);
  if (!response.protocol_name && context.version() < kKnowsNoProtocol) {
    response.protocol_name.emplace();
  }
  response.leader = std::move(answer.leader);
  response.skip_assignment = answer.skip_assignment;
  response.member_id = std::move(answer.member_id);
  for (auto& member : answer.members) {
    auto& out = response.members.emplace_back();
    out.member_id = std::move(member.member_id);
    out.group_instance_id = std::move(member.instance_id);
    out.metadata = std::move(member.metadata);
  }
  co_return response;
}

}  // namespace millrace::kafka

#include "kafka/handlers/group_codes.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

namespace {

constexpr int16_t kManyMembers = 3;

}  // namespace

io::Task<LeaveGroupResponse> leave_group(Context& context, LeaveGroupRequest request) {
  LeaveGroupResponse response;
  const bool many = context.version() >= kManyMembers;
  std::vector<broker::LeavingMember> members;
  if (many) {
    for (const auto& each : request.members) {
      members.push_back({each.member_id, each.group_instance_id});
    }
  } else {
    members.push_back({std::move(request.member_id), std::nullopt});
  }
  auto left = co_await context.groups().leave(std::move(request.group_id), std::move(members));
  if (!left) {
    response.error_code = group_code(left.error());
    co_return response;
  }
  if (!many) {
    if (!left->front()) response.error_code = group_code(left->front().error());
    co_return response;
  }
  for (size_t i = 0; i < request.members.size(); ++i) {
    auto& out = response.members.emplace_back();
    out.member_id = std::move(request.members[i].member_id);
    out.group_instance_id = std::move(request.members[i].group_instance_id);
    if (!(*left)[i]) out.error_code = group_code((*left)[i].error());
  }
  co_return response;
}

}  // namespace millrace::kafka

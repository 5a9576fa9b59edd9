#include "kafka/handlers/group_codes.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

namespace {

constexpr int16_t kTellsNotFound = 6;

using Described = DescribeGroupsResponse::DescribedGroup;

void fill(Described& out, broker::GroupInfo group) {
  out.group_state = std::move(group.state);
  out.protocol_type = std::move(group.protocol_type);
  out.protocol_data = std::move(group.protocol);
  for (auto& member : group.members) {
    auto& each = out.members.emplace_back();
    each.member_id = std::move(member.member_id);
    each.group_instance_id = std::move(member.instance_id);
    each.client_id = std::move(member.client_id);
    each.client_host = std::move(member.client_host);
    each.member_metadata = std::move(member.metadata);
    each.member_assignment = std::move(member.assignment);
  }
}

}  // namespace

io::Task<DescribeGroupsResponse> describe_groups(Context& context, DescribeGroupsRequest request) {
  DescribeGroupsResponse response;
  for (auto& id : request.groups) {
    auto& out = response.groups.emplace_back();
    out.group_id = id;
    auto group = co_await context.groups().describe(id);
    if (group && group->type == broker::GroupType::kClassic) {
      fill(out, std::move(*group));
      if (request.include_authorized_operations) out.authorized_operations = kGroupOperations;
      continue;
    }
    // Groups of other types are ConsumerGroupDescribe's and ShareGroupDescribe's to tell.
    out.group_state = "Dead";
    if (context.version() < kTellsNotFound) continue;
    out.error_code = static_cast<int16_t>(info(ErrorCode::kGroupNotFound).kafka);
    out.error_message =
        group ? "Group " + id + " is not a classic group." : "Group " + id + " not found.";
  }
  co_return response;
}

}  // namespace millrace::kafka

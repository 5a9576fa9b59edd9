#include "kafka/handlers/group_codes.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

namespace {

constexpr const char* kAssignor = "simple";

void fill(const broker::Broker& broker, ShareGroupDescribeResponse::DescribedGroup& out,
          broker::ShareGroupInfo group) {
  out.group_state = std::move(group.state);
  out.group_epoch = group.epoch;
  out.assignment_epoch = group.epoch;
  out.assignor_name = kAssignor;
  for (auto& member : group.members) {
    auto& each = out.members.emplace_back();
    each.member_id = std::move(member.id);
    each.rack_id = std::move(member.rack);
    each.member_epoch = member.epoch;
    each.client_id = std::move(member.client_id);
    each.client_host = std::move(member.client_host);
    each.subscribed_topic_names = std::move(member.topics);
    for (auto& [id, partitions] : member.assignment) {
      const auto topic = broker.find(id);
      if (!topic) continue;
      each.assignment.topic_partitions.push_back({id, topic->object.name, std::move(partitions)});
    }
  }
}

}  // namespace

io::Task<ShareGroupDescribeResponse> share_group_describe(Context& context,
                                                          ShareGroupDescribeRequest request) {
  ShareGroupDescribeResponse response;
  for (auto& id : request.group_ids) {
    auto& out = response.groups.emplace_back();
    out.group_id = id;
    auto group = co_await context.share_groups().describe(std::move(id));
    if (!group) {
      out.error_code = group_code(group.error());
      out.error_message = std::move(group.error().text);
      continue;
    }
    fill(context.broker(), out, std::move(*group));
    if (request.include_authorized_operations) out.authorized_operations = kGroupOperations;
  }
  co_return response;
}

}  // namespace millrace::kafka

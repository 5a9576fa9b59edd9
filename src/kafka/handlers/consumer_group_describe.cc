#include "kafka/handlers/group_codes.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

namespace {

using Described = ConsumerGroupDescribeResponse::DescribedGroup;
using Assignment = ConsumerGroupDescribeResponse::Assignment;

constexpr int8_t kClassicMember = 0, kConsumerMember = 1;

Assignment assignment_of(const broker::PartitionSet& set, const broker::ConsumerGroupInfo& group) {
  Assignment out;
  for (const auto& [topic, partitions] : set) {
    // A topic without a name was dropped; who has it is about to hear that.
    const auto name = group.topics.find(topic);
    if (name == group.topics.end()) continue;
    out.topic_partitions.push_back({topic, name->second, partitions});
  }
  return out;
}

void fill(Described& out, const broker::ConsumerGroupInfo& group) {
  out.group_state = group.state;
  out.group_epoch = group.epoch;
  out.assignment_epoch = group.assignment_epoch;
  out.assignor_name = group.assignor;
  for (const auto& member : group.members) {
    auto& each = out.members.emplace_back();
    each.member_id = member.member_id;
    each.instance_id = member.instance_id;
    each.rack_id = member.rack_id;
    each.member_epoch = member.epoch;
    each.client_id = member.client_id;
    each.client_host = member.client_host;
    each.subscribed_topic_names = member.topic_names;
    if (!member.topic_regex.empty()) each.subscribed_topic_regex = member.topic_regex;
    each.assignment = assignment_of(member.assigned, group);
    each.target_assignment = assignment_of(member.target, group);
    each.member_type = member.classic ? kClassicMember : kConsumerMember;
  }
}

}  // namespace

io::Task<ConsumerGroupDescribeResponse> consumer_group_describe(
    Context& context, ConsumerGroupDescribeRequest request) {
  ConsumerGroupDescribeResponse response;
  for (auto& id : request.group_ids) {
    auto& out = response.groups.emplace_back();
    out.group_id = id;
    auto group = co_await context.groups().describe_consumer(id);
    if (!group) {
      out.error_code = group_code(group.error());
      out.error_message = std::move(group.error().text);
      continue;
    }
    fill(out, *group);
    if (request.include_authorized_operations) out.authorized_operations = kGroupOperations;
  }
  co_return response;
}

}  // namespace millrace::kafka

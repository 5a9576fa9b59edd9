#include "kafka/handlers/group_codes.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

namespace {

using Wanted = DescribeShareGroupOffsetsRequest::DescribeShareGroupOffsetsRequestGroup;
using Answer = DescribeShareGroupOffsetsResponse::DescribeShareGroupOffsetsResponseGroup;
using Offsets = std::map<broker::SharePartitionId, broker::ShareOffset>;

void add(Answer& out, const broker::Topic& topic, const std::vector<int32_t>& partitions,
         const Offsets& offsets) {
  auto& answer = out.topics.emplace_back();
  answer.topic_name = topic.object.name;
  answer.topic_id = topic.object.id;
  for (const int32_t p : partitions) {
    auto& each = answer.partitions.emplace_back();
    each.partition_index = p;
    const auto at = offsets.find({topic.object.id, p});
    each.start_offset = at == offsets.end() ? -1 : at->second.start;
    each.leader_epoch = kLeaderEpoch;
    each.lag = at == offsets.end() ? -1 : at->second.lag;
  }
}

void fill(const broker::Broker& broker, Answer& out, const Wanted& wanted, const Offsets& offsets) {
  if (!wanted.topics) {
    std::map<Uuid, std::vector<int32_t>> all;
    for (const auto& [id, offset] : offsets) all[id.topic].push_back(id.partition);
    for (const auto& [id, partitions] : all) {
      if (const auto topic = broker.find(id)) add(out, *topic, partitions, offsets);
    }
    return;
  }
  for (const auto& topic : *wanted.topics) {
    if (const auto found = broker.find(topic.topic_name)) {
      add(out, *found, topic.partitions, offsets);
      continue;
    }
    auto& answer = out.topics.emplace_back();
    answer.topic_name = topic.topic_name;
    for (const int32_t p : topic.partitions) {
      auto& each = answer.partitions.emplace_back();
      each.partition_index = p;
      each.start_offset = -1;
      each.error_code = wire::kUnknownTopicOrPartition;
    }
  }
}

}  // namespace

io::Task<DescribeShareGroupOffsetsResponse> describe_share_group_offsets(
    Context& context, DescribeShareGroupOffsetsRequest request) {
  DescribeShareGroupOffsetsResponse response;
  for (const auto& wanted : request.groups) {
    auto& out = response.groups.emplace_back();
    out.group_id = wanted.group_id;
    const auto offsets = co_await context.share_groups().offsets(wanted.group_id);
    if (!offsets) {
      out.error_code = group_code(offsets.error());
      out.error_message = offsets.error().text;
      continue;
    }
    Offsets by_id;
    for (const auto& offset : *offsets) by_id[offset.id] = offset;
    fill(context.broker(), out, wanted, by_id);
  }
  co_return response;
}

}  // namespace millrace::kafka

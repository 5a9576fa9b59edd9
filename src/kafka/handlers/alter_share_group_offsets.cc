#include "kafka/handlers/group_codes.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

io::Task<AlterShareGroupOffsetsResponse> alter_share_group_offsets(
    Context& context, AlterShareGroupOffsetsRequest request) {
  AlterShareGroupOffsetsResponse response;
  std::vector<broker::ShareOffset> wanted;
  for (const auto& topic : request.topics) {
    const auto found = context.broker().find(topic.topic_name);
    auto& answer = response.responses.emplace_back();
    answer.topic_name = topic.topic_name;
    if (found) answer.topic_id = found->object.id;
    for (const auto& partition : topic.partitions) {
      auto& each = answer.partitions.emplace_back();
      each.partition_index = partition.partition_index;
      if (!found || partition.partition_index < 0 ||
          static_cast<size_t>(partition.partition_index) >= found->partitions.size()) {
        each.error_code = wire::kUnknownTopicOrPartition;
        continue;
      }
      wanted.push_back({{found->object.id, partition.partition_index}, partition.start_offset, -1});
    }
  }
  auto altered =
      co_await context.share_groups().alter_offsets(std::move(request.group_id), std::move(wanted));
  if (!altered) {
    response.responses.clear();
    response.error_code = group_code(altered.error());
    response.error_message = std::move(altered.error().text);
    co_return response;
  }
  auto outcome = altered->begin();
  for (auto& topic : response.responses) {
    for (auto& each : topic.partitions) {
      if (each.error_code != wire::kNone) continue;
      if (!*outcome) {
        each.error_code = wire_code(outcome->error());
        each.error_message = outcome->error().text;
      }
      ++outcome;
    }
  }
  co_return response;
}

}  // namespace millrace::kafka

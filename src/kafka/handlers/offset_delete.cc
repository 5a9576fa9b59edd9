#include "kafka/handlers/group_codes.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

io::Task<OffsetDeleteResponse> offset_delete(Context& context, OffsetDeleteRequest request) {
  OffsetDeleteResponse response;
  std::vector<broker::TopicPartition> offsets;
  std::vector<std::pair<size_t, size_t>> places;  // of their answers: topic, partition
  for (const auto& topic : request.topics) {
    auto& answer = response.topics.emplace_back();
    answer.name = topic.name;
    const bool known = context.broker().find(topic.name) != nullptr;
    for (const auto& p : topic.partitions) {
      auto& partition_answer = answer.partitions.emplace_back();
      partition_answer.partition_index = p.partition_index;
      if (!known) {
        partition_answer.error_code = wire::kUnknownTopicOrPartition;
        continue;
      }
      places.emplace_back(response.topics.size() - 1, answer.partitions.size() - 1);
      offsets.push_back({topic.name, p.partition_index});
    }
  }
  auto deleted =
      co_await context.groups().delete_offsets(std::move(request.group_id), std::move(offsets));
  if (!deleted) {
    response.topics.clear();
    response.error_code = group_code(deleted.error());
    co_return response;
  }
  for (size_t i = 0; i < places.size(); ++i) {
    if ((*deleted)[i]) continue;
    response.topics[places[i].first].partitions[places[i].second].error_code =
        group_code((*deleted)[i].error());
  }
  co_return response;
}

}  // namespace millrace::kafka

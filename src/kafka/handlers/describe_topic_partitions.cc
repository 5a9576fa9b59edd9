#include <set>

#include "kafka/handlers/handlers.h"
#include "kafka/handlers/topic_description.h"

namespace millrace::kafka {

namespace {
using TopicAnswer = DescribeTopicPartitionsResponse::DescribeTopicPartitionsResponseTopic;
using PartitionAnswer = DescribeTopicPartitionsResponse::DescribeTopicPartitionsResponsePartition;
}  // namespace

io::Task<DescribeTopicPartitionsResponse> describe_topic_partitions(
    Context& context, DescribeTopicPartitionsRequest request) {
  std::set<std::string> names;
  for (auto& topic : request.topics) names.insert(std::move(topic.name));
  if (request.topics.empty()) {
    for (const auto& topic : context.broker().list()) names.insert(topic->object.name);
  }
  // A cursor says where the last answer ended, in the order of names.
  std::string first_name;
  int32_t first_index = 0;
  if (request.cursor) {
    first_name = request.cursor->topic_name;
    first_index = std::max(0, request.cursor->partition_index);
    names.erase(names.begin(), names.lower_bound(first_name));
  }

  DescribeTopicPartitionsResponse response;
  int32_t left = std::clamp(request.response_partition_limit, 1, 2000);
  for (const auto& name : names) {
    const int32_t begin = name == first_name ? first_index : 0;
    if (left == 0) {
      auto& next = response.next_cursor.emplace();
      next.topic_name = name;
      break;
    }
    auto& answer = response.topics.emplace_back();
    answer.name = name;
    const auto topic = context.broker().find(name);
    if (!topic) {
      answer.error_code = wire::kUnknownTopicOrPartition;
      continue;
    }
    answer.topic_id = topic->object.id;
    answer.is_internal = topic->object.internal;
    answer.topic_authorized_operations = kTopicOperations;
    const auto count = static_cast<int32_t>(topic->partitions.size());
    int32_t index = begin;
    for (; index < count && left > 0; ++index, --left) {
      auto& partition = answer.partitions.emplace_back(describe_partition<PartitionAnswer>(index));
      // Null by default, which Java's client does not bear.
      partition.eligible_leader_replicas.emplace();
      partition.last_known_elr.emplace();
    }
    if (index < count) {
      auto& next = response.next_cursor.emplace();
      next.topic_name = name;
      next.partition_index = index;
      break;
    }
  }
  co_return response;
}

}  // namespace millrace::kafka

#pragma once

#include <algorithm>
#include <iterator>
#include <utility>

#include "kafka/detail/error_codes.h"
#include "kafka/handlers/handlers.h"

// What ShareFetch and ShareAcknowledge have in common.
namespace millrace::kafka {

/// A request's acknowledgements, by partition.
template <typename Topics>
std::vector<broker::SharePart> take_share_parts(Topics& topics) {
  std::vector<broker::SharePart> parts;
  for (auto& topic : topics) {
    for (auto& partition : topic.partitions) {
      auto& part = parts.emplace_back();
      part.id = {topic.topic_id, partition.partition_index};
      for (auto& batch : partition.acknowledgement_batches) {
        part.acknowledgements.push_back(
            {batch.first_offset, batch.last_offset, std::move(batch.acknowledge_types)});
      }
    }
  }
  return parts;
}

/// The answer's place for a partition; topics are few.
template <typename Topics>
auto& share_answer_of(Topics& topics, const broker::SharePartitionId& id) {
  auto topic = std::ranges::find_if(topics, [&](const auto& t) { return t.topic_id == id.topic; });
  if (topic == topics.end()) {
    topics.emplace_back().topic_id = id.topic;
    topic = std::prev(topics.end());
  }
  auto& answer = topic->partitions.emplace_back();
  answer.partition_index = id.partition;
  return answer;
}

/// Names the connection among all that are open.
inline uint64_t connection_of(const Context& context) {
  return reinterpret_cast<uintptr_t>(&context.gate);
}

/// Whether a member id can be one; Kafka's are 16 random bytes in 22 characters of base 64.
inline bool is_share_member(const std::optional<std::string>& id) { return id && !id->empty(); }

}  // namespace millrace::kafka

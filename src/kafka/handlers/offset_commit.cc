#include "kafka/handlers/group_codes.h"
#include "kafka/handlers/group_reader.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

namespace {

constexpr int16_t kKnowsConsumerProtocol = 9;
constexpr int16_t kTopicIds = 10;

/// What clients of the version understand. Source: Kafka's OffsetMetadataManager and ConsumerGroup.
int16_t code_of(const Error& error, int16_t version) {
  if (version < kKnowsConsumerProtocol) {
    if (error.code == ErrorCode::kGroupNotFound) {
      return static_cast<int16_t>(info(ErrorCode::kIllegalGeneration).kafka);
    }
    if (error.code == ErrorCode::kStaleMemberEpoch) return wire::kUnsupportedVersion;
  }
  return group_code(error);
}

}  // namespace

io::Task<OffsetCommitResponse> offset_commit(Context& context, OffsetCommitRequest request) {
  const int16_t version = context.version();
  OffsetCommitResponse response;
  std::vector<broker::OffsetToCommit> offsets;
  std::vector<std::pair<size_t, size_t>> places;  // of their answers: topic, partition
  for (auto& topic : request.topics) {
    auto& answer = response.topics.emplace_back();
    bool known = true;
    if (version >= kTopicIds) {
      const auto found = context.broker().find(topic.topic_id);
      known = found != nullptr;
      if (found) topic.name = found->object.name;
    }
    answer.name = topic.name;
    answer.topic_id = topic.topic_id;
    for (auto& p : topic.partitions) {
      auto& partition_answer = answer.partitions.emplace_back();
      partition_answer.partition_index = p.partition_index;
      if (!known) {
        partition_answer.error_code = wire::kUnknownTopicId;
        continue;
      }
      places.emplace_back(response.topics.size() - 1, answer.partitions.size() - 1);
      offsets.push_back({{topic.name, p.partition_index},
                         p.committed_offset,
                         p.committed_leader_epoch,
                         std::move(p.committed_metadata).value_or(std::string())});
    }
  }
  note_group(context, request.group_id, !request.member_id.empty());
  broker::GroupCaller caller{std::move(request.member_id), request.generation_id_or_member_epoch,
                             std::move(request.group_instance_id)};
  auto committed = co_await context.groups().commit(std::move(request.group_id), std::move(caller),
                                                    std::move(offsets));
  for (size_t i = 0; i < places.size(); ++i) {
    auto& answer = response.topics[places[i].first].partitions[places[i].second];
    if (!committed) {
      answer.error_code = code_of(committed.error(), version);
    } else if (!(*committed)[i]) {
      answer.error_code = code_of((*committed)[i].error(), version);
    }
  }
  co_return response;
}

}  // namespace millrace::kafka

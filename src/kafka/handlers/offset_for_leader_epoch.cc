#include "kafka/detail/error_codes.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

io::Task<OffsetForLeaderEpochResponse> offset_for_leader_epoch(
    Context& context, OffsetForLeaderEpochRequest request) {
  OffsetForLeaderEpochResponse response;
  for (const auto& wanted : request.topics) {
    auto& topic_answer = response.topics.emplace_back();
    topic_answer.topic = wanted.topic;
    const auto topic = context.broker().find(wanted.topic);
    for (const auto& p : wanted.partitions) {
      auto& answer = topic_answer.partitions.emplace_back();
      answer.partition = p.partition;
      if (!topic || p.partition < 0 ||
          static_cast<size_t>(p.partition) >= topic->partitions.size()) {
        answer.error_code = wire::kUnknownTopicOrPartition;
        continue;
      }
      answer.error_code = check_leader_epoch(p.current_leader_epoch);
      // There has been one epoch, which ends where the log does.
      if (answer.error_code == wire::kNone && p.leader_epoch == kLeaderEpoch) {
        answer.leader_epoch = kLeaderEpoch;
        answer.end_offset = topic->partitions[static_cast<size_t>(p.partition)]->high_watermark();
      }
    }
  }
  co_return response;
}

}  // namespace millrace::kafka

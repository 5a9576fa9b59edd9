#include "kafka/detail/error_codes.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

namespace {

using Answer = ListOffsetsResponse::ListOffsetsPartitionResponse;

// What a negative timestamp asks for. Source: Kafka's ListOffsetsRequest.
enum Special : int64_t {
  kLatest = -1,
  kEarliest = -2,
  kMaxTimestamp = -3,
  kEarliestLocal = -4,
  kLatestTiered = -5,
  kEarliestPendingUpload = -6,
};

Result<log::TimeOffset> offset_only(Offset offset) { return log::TimeOffset{offset, -1}; }

io::Task<Result<log::TimeOffset>> look_up(std::shared_ptr<broker::Partition> partition,
                                          int64_t timestamp) {
  switch (timestamp) {
    case kLatest:
      co_return offset_only(partition->high_watermark());
    case kEarliest:
    case kEarliestLocal:
      co_return offset_only(partition->start_offset());
    case kMaxTimestamp:
      co_return co_await partition->max_timestamp();
    case kLatestTiered:
    case kEarliestPendingUpload:
      co_return offset_only(-1);  // nothing is tiered
    default:
      if (timestamp < 0) {
        co_return Error{ErrorCode::kUnsupportedVersion,
                        fmt::format("timestamp {} has no meaning", timestamp)};
      }
      co_return co_await partition->offset_for_time(timestamp);
  }
}

}  // namespace

io::Task<ListOffsetsResponse> list_offsets(Context& context, ListOffsetsRequest request) {
  ListOffsetsResponse response;
  for (const auto& wanted : request.topics) {
    auto& topic_answer = response.topics.emplace_back();
    topic_answer.name = wanted.name;
    const auto topic = context.broker().find(wanted.name);
    for (const auto& p : wanted.partitions) {
      Answer answer;
      answer.partition_index = p.partition_index;
      const bool known = topic && p.partition_index >= 0 &&
                         static_cast<size_t>(p.partition_index) < topic->partitions.size();
      answer.error_code =
          known ? check_leader_epoch(p.current_leader_epoch) : wire::kUnknownTopicOrPartition;
      if (answer.error_code == wire::kNone) {
        auto found = co_await look_up(topic->partitions[static_cast<size_t>(p.partition_index)],
                                      p.timestamp);
        if (found) {
          answer.offset = found->offset;
          answer.timestamp = found->timestamp;
          if (found->offset >= 0 && context.version() >= 4) answer.leader_epoch = kLeaderEpoch;
        } else {
          answer.error_code = wire_code(found.error());
        }
      }
      topic_answer.partitions.push_back(std::move(answer));
    }
  }
  co_return response;
}

}  // namespace millrace::kafka

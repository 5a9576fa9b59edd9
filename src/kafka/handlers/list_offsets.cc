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

/// The version of the request that first had a meaning for a negative timestamp; 0: none has.
int16_t version_min_of(int64_t special) {
  switch (special) {
    case kLatest:
    case kEarliest:
      return 1;
    case kMaxTimestamp:
      return 7;
    case kEarliestLocal:
      return 8;
    case kLatestTiered:
      return 9;
    case kEarliestPendingUpload:
      return 11;
    default:
      return 0;
  }
}

/// None, when what was found is past what the reader may see.
Result<log::TimeOffset> visible(Result<log::TimeOffset> found, Offset latest) {
  if (found && found->offset >= latest) return log::TimeOffset{};
  return found;
}

io::Task<Result<log::TimeOffset>> look_up(std::shared_ptr<broker::Partition> partition,
                                          int64_t timestamp, log::Isolation isolation) {
  const Offset latest = isolation == log::Isolation::kCommitted ? partition->last_stable_offset()
                                                                : partition->high_watermark();
  switch (timestamp) {
    case kLatest:
      co_return offset_only(latest);
    case kEarliest:
    case kEarliestLocal:
      co_return offset_only(partition->start_offset());
    case kMaxTimestamp:
      co_return visible(co_await partition->max_timestamp(), latest);
    case kLatestTiered:
    case kEarliestPendingUpload:
      co_return offset_only(-1);  // nothing is tiered
    default:
      co_return visible(co_await partition->offset_for_time(timestamp), latest);
  }
}

}  // namespace

io::Task<ListOffsetsResponse> list_offsets(Context& context, ListOffsetsRequest request) {
  ListOffsetsResponse response;
  const auto isolation =
      request.isolation_level == 1 ? log::Isolation::kCommitted : log::Isolation::kUncommitted;
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
      if (answer.error_code == wire::kNone && p.timestamp < 0) {
        const int16_t version_min = version_min_of(p.timestamp);
        if (version_min == 0 || context.version() < version_min) {
          answer.error_code = wire::kUnsupportedVersion;
        }
      }
      if (answer.error_code == wire::kNone) {
        auto found = co_await look_up(topic->partitions[static_cast<size_t>(p.partition_index)],
                                      p.timestamp, isolation);
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

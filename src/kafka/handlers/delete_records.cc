#include "kafka/detail/error_codes.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

namespace {

using Answer = DeleteRecordsResponse::DeleteRecordsPartitionResult;

io::Task<Answer> delete_before(std::shared_ptr<broker::Partition> partition, int32_t index,
                               Offset offset) {
  Answer answer;
  answer.partition_index = index;
  answer.low_watermark = -1;
  if (!partition) {
    answer.error_code = wire::kUnknownTopicOrPartition;
    co_return answer;
  }
  const Offset end = partition->high_watermark();
  if (offset == -1) offset = end;
  if (offset < 0 || offset > end) {
    answer.error_code = static_cast<int16_t>(info(ErrorCode::kOffsetOutOfRange).kafka);
    co_return answer;
  }
  auto deleted = co_await partition->delete_records(offset);
  if (deleted) {
    answer.low_watermark = partition->start_offset();
  } else {
    answer.error_code = wire_code(deleted.error());
  }
  co_return answer;
}

}  // namespace

io::Task<DeleteRecordsResponse> delete_records(Context& context, DeleteRecordsRequest request) {
  DeleteRecordsResponse response;
  for (const auto& wanted : request.topics) {
    auto& topic_answer = response.topics.emplace_back();
    topic_answer.name = wanted.name;
    const auto topic = context.broker().find(wanted.name);
    for (const auto& p : wanted.partitions) {
      const bool known = topic && p.partition_index >= 0 &&
                         static_cast<size_t>(p.partition_index) < topic->partitions.size();
      auto partition = known ? topic->partitions[static_cast<size_t>(p.partition_index)] : nullptr;
      topic_answer.partitions.push_back(
          co_await delete_before(std::move(partition), p.partition_index, p.offset));
    }
  }
  co_return response;
}

}  // namespace millrace::kafka

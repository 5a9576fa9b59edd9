#include "kafka/handlers/handlers.h"
#include "kafka/handlers/transaction_codes.h"

namespace millrace::kafka {

namespace {

using Answer = DescribeProducersResponse::PartitionResponse;

io::Task<Answer> describe(std::shared_ptr<const broker::Topic> topic, int32_t index) {
  Answer answer;
  answer.partition_index = index;
  if (!topic || index < 0 || static_cast<size_t>(index) >= topic->partitions.size()) {
    answer.error_code = wire::kUnknownTopicOrPartition;
    co_return answer;
  }
  const auto producers = co_await topic->partitions[static_cast<size_t>(index)]->producers();
  if (!producers) {
    answer.error_code = wire_code(producers.error());
    answer.error_message = producers.error().text;
    co_return answer;
  }
  for (const auto& producer : *producers) {
    auto& state = answer.active_producers.emplace_back();
    state.producer_id = producer.producer_id;
    state.producer_epoch = producer.epoch;
    state.last_sequence = producer.last_sequence;
    state.last_timestamp = producer.last_timestamp;
    state.coordinator_epoch = producer.coordinator_epoch;
    state.current_txn_start_offset = producer.transaction_first_offset;
  }
  co_return answer;
}

}  // namespace

io::Task<DescribeProducersResponse> describe_producers(Context& context,
                                                       DescribeProducersRequest request) {
  DescribeProducersResponse response;
  for (const auto& wanted : request.topics) {
    auto& answer = response.topics.emplace_back();
    answer.name = wanted.name;
    const auto topic = context.broker().find(wanted.name);
    for (const int32_t index : wanted.partition_indexes) {
      answer.partitions.push_back(co_await describe(topic, index));
    }
  }
  co_return response;
}

}  // namespace millrace::kafka

#include "kafka/handlers/handlers.h"
#include "kafka/handlers/transaction_codes.h"

namespace millrace::kafka {

io::Task<DescribeTransactionsResponse> describe_transactions(Context& context,
                                                             DescribeTransactionsRequest request) {
  DescribeTransactionsResponse response;
  for (auto& id : request.transactional_ids) {
    auto& answer = response.transaction_states.emplace_back();
    answer.transactional_id = id;
    const auto found = co_await context.transactions().describe(id);
    if (!found) {
      answer.error_code = transaction_code(found.error(), true);
      continue;
    }
    answer.transaction_state = name_of(found->state);
    answer.transaction_timeout_ms = found->timeout_ms;
    answer.transaction_start_time_ms = found->start_time;
    answer.producer_id = found->producer.id;
    answer.producer_epoch = found->producer.epoch;
    for (const auto& at : found->partitions) {
      if (answer.topics.empty() || answer.topics.back().topic != at.topic) {
        answer.topics.emplace_back().topic = at.topic;
      }
      answer.topics.back().partitions.push_back(at.partition);
    }
    // As in Kafka, the offsets of groups are records of this topic.
    if (!found->groups.empty()) {
      auto& offsets = answer.topics.emplace_back();
      offsets.topic = "__consumer_offsets";
      offsets.partitions.push_back(0);
    }
  }
  co_return response;
}

}  // namespace millrace::kafka

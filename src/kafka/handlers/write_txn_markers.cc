#include "kafka/handlers/handlers.h"
#include "kafka/handlers/transaction_codes.h"

namespace millrace::kafka {

namespace {

constexpr std::string_view kOffsetsTopic = "__consumer_offsets";

io::Task<int16_t> write_marker(Context& context, std::string topic_name, int32_t index,
                               log::TransactionMarker marker) {
  if (topic_name == kOffsetsTopic) {
    // Offsets that a transaction holds back are the groups', not records of the topic.
    auto finished = co_await context.groups().finish_transaction(marker.producer_id, marker.commit);
    co_return finished ? wire::kNone : wire_code(finished.error());
  }
  const auto topic = context.broker().find(topic_name);
  if (!topic || index < 0 || static_cast<size_t>(index) >= topic->partitions.size()) {
    co_return wire::kUnknownTopicOrPartition;
  }
  auto appended = co_await topic->partitions[static_cast<size_t>(index)]->append_marker(marker);
  co_return appended ? wire::kNone : wire_code(appended.error());
}

}  // namespace

/// What `kafka-transactions --abort` sends to end a transaction that its coordinator has forgotten.
io::Task<WriteTxnMarkersResponse> write_txn_markers(Context& context,
                                                    WriteTxnMarkersRequest request) {
  WriteTxnMarkersResponse response;
  for (const auto& wanted : request.markers) {
    auto& result = response.markers.emplace_back();
    result.producer_id = wanted.producer_id;
    const log::TransactionMarker marker{.producer_id = wanted.producer_id,
                                        .producer_epoch = wanted.producer_epoch,
                                        .commit = wanted.transaction_result,
                                        .coordinator_epoch = wanted.coordinator_epoch};
    for (const auto& topic : wanted.topics) {
      auto& answer = result.topics.emplace_back();
      answer.name = topic.name;
      for (const int32_t index : topic.partition_indexes) {
        const auto code = co_await write_marker(context, topic.name, index, marker);
        answer.partitions.push_back({index, code});
      }
    }
  }
  co_return response;
}

}  // namespace millrace::kafka

#include "kafka/handlers/handlers.h"
#include "kafka/handlers/transaction_codes.h"

namespace millrace::kafka {

namespace {

constexpr int16_t kKnowsAbortable = 4;
constexpr int16_t kAddsGroup = 5;  // KIP-890

/// What clients of the version understand. Source: Kafka's group coordinator, and the errors that
/// its clients' handlers know.
int16_t code_of(const Error& error, int16_t version) {
  switch (error.code) {
    case ErrorCode::kInvalidTransaction:
      return version >= kKnowsAbortable ? wire::kTransactionAbortable : wire_code(error);
    case ErrorCode::kConcurrentTransactions:
      return wire::kCoordinatorLoadInProgress;
    case ErrorCode::kStaleMemberEpoch:
      return wire::kIllegalGeneration;
    case ErrorCode::kUndefinedObject:
      return wire::kUnknownTopicOrPartition;
    default:
      return transaction_code(error, false);
  }
}

std::vector<broker::OffsetToCommit> take_offsets(TxnOffsetCommitRequest& request) {
  std::vector<broker::OffsetToCommit> offsets;
  for (auto& topic : request.topics) {
    for (auto& p : topic.partitions) {
      offsets.push_back({.at = {topic.name, p.partition_index},
                         .offset = p.committed_offset,
                         .leader_epoch = p.committed_leader_epoch,
                         .metadata = std::move(p.committed_metadata).value_or(std::string())});
    }
  }
  return offsets;
}

}  // namespace

io::Task<TxnOffsetCommitResponse> txn_offset_commit(Context& context,
                                                    TxnOffsetCommitRequest request) {
  const int16_t version = context.version();
  const broker::Producer producer{request.producer_id, request.producer_epoch};
  broker::GroupCaller caller{.member_id = std::move(request.member_id),
                             .generation = request.generation_id,
                             .instance_id = std::move(request.group_instance_id)};
  auto offsets = take_offsets(request);
  auto staged = co_await context.transactions().stage_offsets(
      std::move(request.transactional_id), producer, std::move(request.group_id), std::move(caller),
      std::move(offsets), version >= kAddsGroup);
  TxnOffsetCommitResponse response;
  size_t i = 0;
  for (const auto& topic : request.topics) {
    auto& answer = response.topics.emplace_back();
    answer.name = topic.name;
    for (const auto& p : topic.partitions) {
      int16_t code = wire::kNone;
      if (!staged) {
        code = code_of(staged.error(), version);
      } else if (!(*staged)[i]) {
        code = code_of((*staged)[i].error(), version);
      }
      ++i;
      answer.partitions.push_back({p.partition_index, code});
    }
  }
  co_return response;
}

}  // namespace millrace::kafka

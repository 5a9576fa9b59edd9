#include "broker/journal.h"
#include "kafka/handlers/handlers.h"
#include "kafka/handlers/transaction_codes.h"

namespace millrace::kafka {

namespace {

using Transaction = AddPartitionsToTxnRequest::AddPartitionsToTxnTransaction;
using TopicResult = AddPartitionsToTxnResponse::AddPartitionsToTxnTopicResult;

constexpr int16_t kKnowsFenced = 2;
constexpr int16_t kBatched = 4;

int16_t code_of(const broker::Broker& broker, const std::string& name, int32_t partition) {
  const auto topic = broker.find(name);
  if (!topic || partition < 0 || static_cast<size_t>(partition) >= topic->partitions.size()) {
    return wire::kUnknownTopicOrPartition;
  }
  if (broker::is_internal_topic(name)) return wire::kTopicAuthorizationFailed;
  return wire::kNone;
}

/// Adds all partitions of one transaction, or none; or says which it holds.
io::Task<std::vector<TopicResult>> add(Context& context, Transaction wanted) {
  std::vector<TopicResult> results;
  std::vector<broker::TopicPartition> partitions;
  bool sound = true;
  for (const auto& topic : wanted.topics) {
    auto& result = results.emplace_back();
    result.name = topic.name;
    for (const int32_t index : topic.partitions) {
      const auto code = code_of(context.broker(), topic.name, index);
      result.results_by_partition.push_back({index, code});
      partitions.push_back({topic.name, index});
      sound = sound && code == wire::kNone;
    }
  }
  const auto fill = [&](auto&& code_at) {
    size_t i = 0;
    for (auto& topic : results) {
      for (auto& p : topic.results_by_partition) p.partition_error_code = code_at(i++, p);
    }
  };
  if (!sound) {
    fill([](size_t, const auto& p) {
      return p.partition_error_code == wire::kNone ? wire::kOperationNotAttempted
                                                   : p.partition_error_code;
    });
    co_return results;
  }
  const broker::Producer producer{wanted.producer_id, wanted.producer_epoch};
  const bool fenced = context.version() >= kKnowsFenced;
  if (wanted.verify_only) {
    auto held = co_await context.transactions().verify_partitions(wanted.transactional_id, producer,
                                                                  std::move(partitions));
    fill([&](size_t i, const auto&) {
      if (!held) return transaction_code(held.error(), fenced);
      return (*held)[i] ? wire::kNone : transaction_code((*held)[i].error(), fenced);
    });
  } else {
    auto added = co_await context.transactions().add_partitions(wanted.transactional_id, producer,
                                                                std::move(partitions));
    const int16_t code = added ? wire::kNone : transaction_code(added.error(), fenced);
    fill([&](size_t, const auto&) { return code; });
  }
  co_return results;
}

}  // namespace

io::Task<AddPartitionsToTxnResponse> add_partitions_to_txn(Context& context,
                                                           AddPartitionsToTxnRequest request) {
  AddPartitionsToTxnResponse response;
  if (context.version() < kBatched) {
    Transaction only;
    only.transactional_id = std::move(request.v3_and_below_transactional_id);
    only.producer_id = request.v3_and_below_producer_id;
    only.producer_epoch = request.v3_and_below_producer_epoch;
    only.topics = std::move(request.v3_and_below_topics);
    response.results_by_topic_v3_and_below = co_await add(context, std::move(only));
    co_return response;
  }
  for (auto& wanted : request.transactions) {
    auto& result = response.results_by_transaction.emplace_back();
    result.transactional_id = wanted.transactional_id;
    result.topic_results = co_await add(context, std::move(wanted));
  }
  co_return response;
}

}  // namespace millrace::kafka

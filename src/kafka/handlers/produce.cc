#include "broker/journal.h"
#include "kafka/detail/error_codes.h"
#include "kafka/detail/wakeup.h"
#include "kafka/handlers/handlers.h"
#include "log/record_batch.h"

namespace millrace::kafka {

namespace {

using Answer = ProduceResponse::PartitionProduceResponse;

constexpr int16_t kAcksAll = -1, kAcksLeader = 1, kAcksNone = 0;

/// One partition's part of a request.
struct Append {
  std::shared_ptr<broker::Partition> partition;
  std::string_view batches;
  Answer* answer = nullptr;  // in the response, which does not move while appends run
  bool transactional = false;
};

/// Whose transaction a request's batches are of.
struct Transaction {
  const std::optional<std::string>& id;
  std::optional<broker::Producer> producer = {};  // of the first transactional batch
};

void refuse(Answer& answer, int16_t code, std::string message, int16_t version) {
  answer.error_code = code;
  answer.base_offset = -1;
  if (version >= 8) answer.error_message = std::move(message);
}

/// A transactional batch is of a producer with a transactional id, and a request of one producer.
bool acceptable(const log::BatchHeader& header, int16_t version, Transaction& transaction,
                Answer& answer) {
  const broker::Producer producer{header.producer_id, header.producer_epoch};
  if (!transaction.id) {
    refuse(answer, wire::kTransactionalIdAuthorizationFailed,
           "a transactional batch needs a transactional id", version);
    return false;
  }
  if (!transaction.producer) transaction.producer = producer;
  if (producer == *transaction.producer) return true;
  refuse(answer, wire::kInvalidProducerIdMapping,
         "the transactional batches of a request are of one producer", version);
  return false;
}

/// What clients may not write, though the batch be sound: control batches, and codecs that came
/// after the version.
bool acceptable(Append& append, int16_t version, Transaction& transaction) {
  Answer& answer = *append.answer;
  std::string_view bytes = append.batches;
  while (auto header = log::parse_batch_header(bytes)) {
    if (header->control()) {
      refuse(answer, wire::kInvalidRecord, "clients cannot write control batches", version);
      return false;
    }
    if (header->transactional()) {
      if (!acceptable(*header, version, transaction, answer)) return false;
      append.transactional = true;
    }
    if (header->compression() == log::Compression::kZstd && version < 7) {
      refuse(answer, wire::kUnsupportedCompressionType, "zstd needs Produce version 7", version);
      return false;
    }
    bytes.remove_prefix(std::min(header->total_bytes(), bytes.size()));
  }
  return true;
}

/// What a producer of the version understands of what the coordinator says. Source: KIP-890, and
/// the mappings of Kafka's replica manager.
int16_t refusal_code(const Error& error, int16_t version) {
  constexpr int16_t kKnowsAbortable = 11;
  switch (error.code) {
    case ErrorCode::kProducerFenced:
      return wire::kInvalidProducerEpoch;
    case ErrorCode::kConcurrentTransactions:
      return wire::kNotEnoughReplicas;  // it waits and tries again
    case ErrorCode::kInvalidTransaction:
      return version >= kKnowsAbortable ? wire::kTransactionAbortable : wire_code(error);
    default:
      return wire_code(error);
  }
}

/// Leave to append what is transactional; what is not given leave is refused and taken out. The
/// caller goes on to the appends at once, so that requests keep their order.
io::Task<broker::Transactions::Admission> admit(Context& context, Transaction transaction,
                                                std::vector<Append>& appends) {
  constexpr int16_t kAddsPartitions = 12;  // transaction.version 2, KIP-890
  const int16_t version = context.version();
  std::vector<broker::Partition*> wanted;
  std::vector<std::shared_ptr<broker::Partition>> kept;
  for (const auto& append : appends) {
    if (append.transactional) wanted.push_back(append.partition.get());
  }
  auto& transactions = context.transactions();
  if (auto known = transactions.try_admit(*transaction.producer, wanted)) {
    co_return std::move(*known);
  }
  for (const auto& append : appends) {
    if (append.transactional) kept.push_back(append.partition);
  }
  auto admitted = co_await transactions.admit(*transaction.id, *transaction.producer,
                                              std::move(kept), version >= kAddsPartitions);
  size_t i = 0;
  std::erase_if(appends, [&](const Append& append) {
    if (!append.transactional) return false;
    const size_t at = i++;
    if (admitted && admitted->partitions[at]) return false;
    const Error& why = admitted ? admitted->partitions[at].error() : admitted.error();
    refuse(*append.answer, refusal_code(why, version), why.text, version);
    return true;
  });
  if (!admitted) co_return broker::Transactions::Admission();
  co_return std::move(admitted->admission);
}

/// The batches of a request that holds no others: with the frame that they came in, uncopied, when
/// that is little more.
OwnedBytes take_batches(Context& context, std::string_view batches) {
  constexpr size_t kMore = 1024;
  std::string& frame = context.frame;
  if (batches.size() < kMore || frame.size() > batches.size() + kMore) return std::string(batches);
  const auto from = static_cast<size_t>(batches.data() - frame.data());
  return {std::move(frame), from, batches.size()};
}

io::Task<void> append(Append what, OwnedBytes batches, log::Ack ack, int16_t version) {
  auto appended = co_await what.partition->append(std::move(batches), ack);
  if (!appended) {
    refuse(*what.answer, wire_code(appended.error()), std::move(appended.error().text), version);
    co_return;
  }
  what.answer->base_offset = appended->base_offset;
  what.answer->log_append_time_ms = appended->append_time_ms;
  what.answer->log_start_offset = appended->start_offset;
}

/// Counts appends that run beside each other.
struct Countdown {
  size_t left;
  Wakeup done;
};

io::Task<void> append_one_of(Append what, log::Ack ack, int16_t version, Countdown& countdown) {
  std::string batches(what.batches);
  co_await append(std::move(what), std::move(batches), ack, version);
  if (--countdown.left == 0) countdown.done.notify();
}

io::Task<void> append_all(Context& context, std::vector<Append> appends, log::Ack ack) {
  if (appends.size() == 1) {
    auto batches = take_batches(context, appends.front().batches);
    co_await append(std::move(appends.front()), std::move(batches), ack, context.version());
    co_return;
  }
  Countdown countdown{appends.size(), {}};
  for (auto& each : appends) {
    context.shard.spawn(context.gate,
                        append_one_of(std::move(each), ack, context.version(), countdown));
  }
  while (countdown.left > 0) co_await countdown.done.wait();
}

/// Finds the partition, or says in the answer why not.
std::shared_ptr<broker::Partition> target(const broker::Topic* topic, int32_t index, bool by_id,
                                          int16_t version, Answer& answer) {
  answer.index = index;
  if (topic == nullptr) {
    refuse(answer, by_id ? wire::kUnknownTopicId : wire::kUnknownTopicOrPartition,
           "there is no such topic", version);
    return nullptr;
  }
  if (topic->object.kind == catalog::Kind::kMaterializedView) {
    refuse(answer, wire::kTopicAuthorizationFailed,
           fmt::format("'{}' is a materialized view, which alone writes its changelog",
                       topic->object.name),
           version);
    return nullptr;
  }
  if (topic->object.name.starts_with("__") && broker::is_internal_topic(topic->object.name)) {
    refuse(answer, wire::kInvalidTopic,
           fmt::format("'{}' is written by the node alone", topic->object.name), version);
    return nullptr;
  }
  if (index < 0 || static_cast<size_t>(index) >= topic->partitions.size()) {
    refuse(answer, wire::kUnknownTopicOrPartition,
           fmt::format("'{}' has {} partitions", topic->object.name, topic->partitions.size()),
           version);
    return nullptr;
  }
  return topic->partitions[static_cast<size_t>(index)];
}

/// What of `request` can be appended; the rest is refused in `response`.
std::vector<Append> collect(Context& context, const ProduceRequest& request,
                            Transaction& transaction, ProduceResponse& response) {
  const int16_t version = context.version();
  const bool by_id = version >= 13;
  const bool acks_known =
      request.acks == kAcksAll || request.acks == kAcksLeader || request.acks == kAcksNone;
  response.responses.resize(request.topic_data.size());
  std::vector<Append> appends;
  for (size_t t = 0; t < request.topic_data.size(); ++t) {
    const auto& wanted = request.topic_data[t];
    auto& topic_answer = response.responses[t];
    topic_answer.name = wanted.name;
    topic_answer.topic_id = wanted.topic_id;
    topic_answer.partition_responses.resize(wanted.partition_data.size());
    const auto topic =
        by_id ? context.broker().find(wanted.topic_id) : context.broker().find(wanted.name);
    for (size_t p = 0; p < wanted.partition_data.size(); ++p) {
      const auto& data = wanted.partition_data[p];
      Answer& answer = topic_answer.partition_responses[p];
      auto partition = target(topic.get(), data.index, by_id, version, answer);
      if (!partition) continue;
      if (!acks_known) {
        refuse(answer, wire::kInvalidRequiredAcks, "acks is -1, 0 or 1", version);
      } else if (!data.records || data.records->bytes().empty()) {
        refuse(answer, wire::kInvalidRecord, "no records", version);
      } else {
        Append append{std::move(partition), data.records->bytes(), &answer};
        if (acceptable(append, version, transaction)) appends.push_back(std::move(append));
      }
    }
  }
  return appends;
}

/// Appends as part of a transaction, and answers when the transaction durably holds the partitions.
io::Task<void> append_admitted(Context& context, Transaction transaction,
                               std::vector<Append> appends, log::Ack ack) {
  auto admission = co_await admit(context, transaction, appends);
  std::vector<Answer*> answers;
  for (const auto& append : appends) {
    if (append.transactional) answers.push_back(append.answer);
  }
  if (!appends.empty()) co_await append_all(context, std::move(appends), ack);
  auto recorded = co_await context.transactions().recorded(admission);
  if (recorded) co_return;
  for (Answer* answer : answers) {
    if (answer->error_code != wire::kNone) continue;
    refuse(*answer, wire_code(recorded.error()), recorded.error().text, context.version());
  }
}

}  // namespace

io::Task<Result<std::optional<ProduceResponse>>> produce(Context& context, ProduceRequest request) {
  ProduceResponse response;
  Transaction transaction{request.transactional_id};
  auto appends = collect(context, request, transaction, response);
  // An ack says that the records are kept, acks=1 as acks=all: there is one replica, and a topic
  // that would rather be fast says durability='os'.
  const auto ack = request.acks == kAcksNone ? log::Ack::kWritten : log::Ack::kDurable;
  if (transaction.producer) {
    co_await append_admitted(context, transaction, std::move(appends), ack);
  } else if (!appends.empty()) {
    co_await append_all(context, std::move(appends), ack);
  }

  if (request.acks != kAcksNone) {
    co_return Result<std::optional<ProduceResponse>>(std::move(response));
  }
  for (const auto& topic : response.responses) {
    for (const auto& answer : topic.partition_responses) {
      if (answer.error_code == wire::kNone) continue;
      co_return Error{
          ErrorCode::kInvalidArgument,
          fmt::format("acks=0 to partition {} of '{}': {}", answer.index, topic.name,
                      answer.error_message.value_or("error " + std::to_string(answer.error_code)))};
    }
  }
  co_return Result<std::optional<ProduceResponse>>(std::nullopt);
}

}  // namespace millrace::kafka

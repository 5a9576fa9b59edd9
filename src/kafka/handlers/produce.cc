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
};

void refuse(Answer& answer, int16_t code, std::string message, int16_t version) {
  answer.error_code = code;
  answer.base_offset = -1;
  if (version >= 8) answer.error_message = std::move(message);
}

/// What clients may not write, though the batch be sound: control batches, and transactions, which
/// are not supported yet; and codecs that came after the version.
bool acceptable(std::string_view bytes, int16_t version, Answer& answer) {
  while (auto header = log::parse_batch_header(bytes)) {
    if (header->control()) {
      refuse(answer, wire::kInvalidRecord, "clients cannot write control batches", version);
      return false;
    }
    if (header->transactional()) {
      refuse(answer, wire::kInvalidRequest, "transactions are not supported yet", version);
      return false;
    }
    if (header->compression() == log::Compression::kZstd && version < 7) {
      refuse(answer, wire::kUnsupportedCompressionType, "zstd needs Produce version 7", version);
      return false;
    }
    bytes.remove_prefix(std::min(header->total_bytes(), bytes.size()));
  }
  return true;
}

io::Task<void> append(Append what, log::Ack ack, int16_t version) {
  auto appended = co_await what.partition->append(std::string(what.batches), ack);
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
  co_await append(std::move(what), ack, version);
  if (--countdown.left == 0) countdown.done.notify();
}

io::Task<void> append_all(Context& context, std::vector<Append> appends, log::Ack ack) {
  if (appends.size() == 1) {
    co_await append(std::move(appends.front()), ack, context.version());
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
  if (index < 0 || static_cast<size_t>(index) >= topic->partitions.size()) {
    refuse(answer, wire::kUnknownTopicOrPartition,
           fmt::format("'{}' has {} partitions", topic->object.name, topic->partitions.size()),
           version);
    return nullptr;
  }
  return topic->partitions[static_cast<size_t>(index)];
}

}  // namespace

io::Task<Result<std::optional<ProduceResponse>>> produce(Context& context, ProduceRequest request) {
  const int16_t version = context.version();
  const bool by_id = version >= 13;
  const bool acks_known =
      request.acks == kAcksAll || request.acks == kAcksLeader || request.acks == kAcksNone;
  ProduceResponse response;
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
      } else if (request.transactional_id) {
        refuse(answer, wire::kInvalidRequest, "transactions are not supported yet", version);
      } else if (!data.records || data.records->bytes().empty()) {
        refuse(answer, wire::kInvalidRecord, "no records", version);
      } else if (acceptable(data.records->bytes(), version, answer)) {
        appends.push_back({std::move(partition), data.records->bytes(), &answer});
      }
    }
  }
  // An ack says that the records are kept, acks=1 as acks=all: there is one replica, and a topic
  // that would rather be fast says durability='os'.
  const auto ack = request.acks == kAcksNone ? log::Ack::kWritten : log::Ack::kDurable;
  if (!appends.empty()) co_await append_all(context, std::move(appends), ack);

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

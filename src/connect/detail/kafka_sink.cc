#include <fmt/format.h>

#include <charconv>

#include "catalog/connector.h"
#include "connect/detail/kafka_client.h"
#include "connect/detail/kinds.h"

namespace millrace::connect {

namespace {

constexpr int kTransactionAnswerMs = 30'000;
/// What a broker takes as an offset's metadata, which holds the position: some 25 bytes each.
constexpr size_t kPartitionsMax = 150;

struct KafkaSinkOptions {
  KafkaSettings settings;
  std::string topic;
  bool exactly_once = true;
  std::string id;    // its transactional id, and the far group that has its position
  std::string from;  // our topic
};

/// "orders@0:17,1:4"
std::string text_of(const std::string& topic, const SinkPosition& position) {
  std::string out = topic + "@";
  for (const auto& [partition, offset] : position) {
    fmt::format_to(std::back_inserter(out), "{}{}:{}", out.ends_with('@') ? "" : ",", partition,
                   offset);
  }
  return out;
}
/// None of a topic that the sink had before.
std::optional<SinkPosition> position_of(const std::string& topic, std::string_view text) {
  SinkPosition out;
  const auto mark = text.find('@');
  if (mark == std::string_view::npos) return std::nullopt;
  if (text.substr(0, mark) != topic) return out;
  text.remove_prefix(mark + 1);
  while (!text.empty()) {
    int32_t partition = 0;
    Offset offset = 0;
    const char* const end = text.data() + text.size();
    const auto first = std::from_chars(text.data(), end, partition);
    if (first.ec != std::errc() || first.ptr == end || *first.ptr != ':') return std::nullopt;
    const auto second = std::from_chars(first.ptr + 1, end, offset);
    if (second.ec != std::errc() || (second.ptr != end && *second.ptr != ',')) return std::nullopt;
    out[partition] = offset;
    text.remove_prefix(std::min(text.size(), static_cast<size_t>(second.ptr - text.data()) + 1));
  }
  return out;
}

/// Writes to a far topic. Exactly once: each write is a transaction there, which holds the position
/// too, as an offset of a group.
class KafkaSink final : public Sink {
 public:
  explicit KafkaSink(const KafkaSinkOptions& options) : options_(options) {}

  Result<std::optional<SinkPosition>> open() override {
    std::map<std::string, std::string> more = {
        {"enable.idempotence", "true"}, {"message.timeout.ms", "30000"}, {"linger.ms", "0"}};
    if (options_.exactly_once) {
      more["transactional.id"] = options_.id;
      more["transaction.timeout.ms"] = "60000";
    }
    MR_TRY(client_.start(RD_KAFKA_PRODUCER, options_.settings, more, on_delivery, this));
    MR_TRY(partitions_, client_.partitions(options_.topic));
    if (!options_.exactly_once) return std::optional<SinkPosition>();
    // Ends what a run before has left open, so that the position is a whole transaction's.
    KafkaError failed(rd_kafka_init_transactions(client_.handle(), kTransactionAnswerMs));
    if (failed) return kafka_error(failed.get(), "beginning transactions in kafka");
    return far_position();
  }

  Result<> write(const Records& records, const SinkPosition& next) override {
    MR_TRY(client_.health());
    failure_.reset();
    if (!options_.exactly_once) {
      MR_TRY(produce(records));
      return flush();
    }
    KafkaError failed(rd_kafka_begin_transaction(client_.handle()));
    if (failed) return kafka_error(failed.get(), "beginning a transaction in kafka");
    MR_TRY(produce(records));
    MR_TRY(send_position(next));
    failed.reset(rd_kafka_commit_transaction(client_.handle(), kTransactionAnswerMs));
    // Whether it was committed is told by the position that the next run finds.
    if (failed) return kafka_error(failed.get(), "committing a transaction in kafka");
    return {};
  }

 private:
  static void on_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
    auto& self = *static_cast<KafkaSink*>(opaque);
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR && !self.failure_) {
      self.failure_ = kafka_error(message->err, "writing to kafka");
    }
  }

  Result<std::optional<SinkPosition>> far_position() {
    KafkaClient reader;
    MR_TRY(reader.start(RD_KAFKA_CONSUMER, options_.settings,
                        {{"group.id", options_.id},
                         {"enable.auto.commit", "false"},
                         {"isolation.level", "read_committed"}}));
    KafkaPartitions one(rd_kafka_topic_partition_list_new(1));
    auto& at = *rd_kafka_topic_partition_list_add(one.get(), options_.topic.c_str(), 0);
    const auto code = rd_kafka_committed(reader.handle(), one.get(), kTransactionAnswerMs);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
      return kafka_error(code, "reading the position of the sink from kafka");
    }
    if (at.offset < 0 || !at.metadata) return std::optional<SinkPosition>(SinkPosition());
    auto position = position_of(
        options_.from, std::string_view(static_cast<const char*>(at.metadata), at.metadata_size));
    if (position) return position;
    return Error{
        ErrorCode::kCorruptRecord,
        fmt::format("the group {} of the far side holds no position of a sink", options_.id)};
  }

  Result<> send_position(const SinkPosition& next) {
    KafkaPartitions one(rd_kafka_topic_partition_list_new(1));
    auto& at = *rd_kafka_topic_partition_list_add(one.get(), options_.topic.c_str(), 0);
    at.offset = 0;
    // The list frees it.
    const auto text = text_of(options_.from, next);
    at.metadata = strdup(text.c_str());
    at.metadata_size = text.size();
    std::unique_ptr<rd_kafka_consumer_group_metadata_t,
                    Frees<rd_kafka_consumer_group_metadata_destroy>>
        group(rd_kafka_consumer_group_metadata_new(options_.id.c_str()));
    KafkaError failed(rd_kafka_send_offsets_to_transaction(client_.handle(), one.get(), group.get(),
                                                           kTransactionAnswerMs));
    if (failed) return kafka_error(failed.get(), "keeping the position of the sink in kafka");
    return {};
  }

  Result<> produce(const Records& records) {
    for (size_t i = 0; i < records.records.size(); ++i) {
      MR_TRY(produce_one(records.records[i], records.partitions[i] % partitions_));
      if (i % 64 == 0) rd_kafka_poll(client_.handle(), 0);
      if (failure_) return *failure_;
    }
    return {};
  }

  Result<> produce_one(const wasm::RecordView& record, int32_t partition) {
    while (true) {
      rd_kafka_headers_t* headers = rd_kafka_headers_new(record.headers.size());
      for (const auto& header : record.headers) {
        rd_kafka_header_add(headers, header.name.data(), static_cast<ssize_t>(header.name.size()),
                            header.value ? header.value->data() : nullptr,
                            header.value ? static_cast<ssize_t>(header.value->size()) : 0);
      }
      const auto bytes = [](const std::optional<std::string_view>& text) {
        // An empty one is not none: it needs an address.
        return text ? const_cast<char*>(text->empty() ? "" : text->data()) : nullptr;
      };
      const auto code = rd_kafka_producev(
          client_.handle(), RD_KAFKA_V_TOPIC(options_.topic.c_str()),
          RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
          RD_KAFKA_V_KEY(bytes(record.key), record.key.value_or("").size()),
          RD_KAFKA_V_VALUE(bytes(record.value), record.value.value_or("").size()),
          RD_KAFKA_V_TIMESTAMP(record.timestamp), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
      if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return {};
      rd_kafka_headers_destroy(headers);
      if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) return kafka_error(code, "writing to kafka");
      rd_kafka_poll(client_.handle(), 10);
      MR_TRY(client_.health());
    }
  }

  Result<> flush() {
    while (rd_kafka_outq_len(client_.handle()) > 0) {
      rd_kafka_flush(client_.handle(), 100);
      if (failure_) return *failure_;
      MR_TRY(client_.health());
    }
    if (failure_) return *failure_;
    return {};
  }

  const KafkaSinkOptions& options_;
  int32_t partitions_ = 1;
  std::optional<Error> failure_;  // of a delivery, since the last write began
  KafkaClient client_;            // the last: its callbacks use what stands above
};

}  // namespace

Result<Recipe> kafka_sink(Options& given, const catalog::Object& object, size_t partitions) {
  auto options = std::make_shared<KafkaSinkOptions>();
  options->id = "millrace-sink-" + object.id.to_string();
  options->from = catalog::option_of(object, catalog::kTopicOption);
  MR_TRY(options->settings, KafkaSettings::take(given));
  MR_TRY(options->topic, given.needed("topic", "orders"));
  MR_TRY(const auto delivery,
         given.one_of("delivery", "exactly_once", {"exactly_once", "at_least_once"}));
  options->exactly_once = delivery == "exactly_once";
  if (options->exactly_once && partitions > kPartitionsMax) {
    return Error{ErrorCode::kInvalidConfig,
                 fmt::format("delivery = 'exactly_once' is for topics of at most {} partitions; "
                             "\"{}\" has {}",
                             kPartitionsMax, options->from, partitions),
                 std::nullopt, "Say delivery = 'at_least_once'."};
  }
  Recipe recipe;
  recipe.sink = [options] { return std::make_unique<KafkaSink>(*options); };
  return recipe;
}

}  // namespace millrace::connect

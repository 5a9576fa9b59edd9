#include <fmt/format.h>

#include <charconv>
#include <chrono>

#include "catalog/connector.h"
#include "connect/detail/far_position.h"
#include "connect/detail/kafka_client.h"
#include "connect/detail/kinds.h"

namespace millrace::connect {

namespace {

/// What takes longer is begun again.
constexpr auto kTransactionLimit = std::chrono::seconds(30);
/// How often it looks whether to give up.
constexpr int kTurnMs = 500;

struct KafkaSinkOptions {
  KafkaSettings settings;
  std::string topic;
  bool exactly_once = true;
  FarPosition::Place place;  // its key is the transactional id too
  std::string from;          // our topic
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
/// too, as a record.
class KafkaSink final : public Sink {
 public:
  KafkaSink(const KafkaSinkOptions& options, const Progress& progress)
      : options_(options),
        progress_(progress),
        far_position_(options.settings, options.place, progress) {}

  Result<std::optional<SinkPosition>> open() override {
    std::map<std::string, std::string> more = {
        {"enable.idempotence", "true"}, {"message.timeout.ms", "30000"}, {"linger.ms", "0"}};
    if (options_.exactly_once) {
      more["transactional.id"] = options_.place.key;
      more["isolation.level"] = "read_uncommitted";  // as FarPosition needs it
      more["transaction.timeout.ms"] = "60000";
    }
    MR_TRY(client_.start(RD_KAFKA_PRODUCER, options_.settings, more, on_delivery, this));
    MR_TRY(partitions_, client_.partitions(options_.topic));
    client_.answered();
    if (!options_.exactly_once) return std::optional<SinkPosition>();
    MR_TRY(far_position_.prepare(client_));
    // Ends what a run before has left open, so that the position is a whole transaction's.
    MR_TRY(finish("beginning transactions in kafka", rd_kafka_init_transactions));
    MR_TRY(const auto text, far_position_.read(client_));
    if (!text) return std::optional<SinkPosition>(SinkPosition());
    auto position = position_of(options_.from, *text);
    if (position) return position;
    return Error{ErrorCode::kCorruptRecord,
                 fmt::format("the record {} in the topic {} of the far side is no position",
                             options_.place.key, options_.place.topic)};
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
    const auto text = text_of(options_.from, next);
    wasm::RecordView position;
    position.timestamp = 0;  // now
    position.key = options_.place.key;
    position.value = text;
    MR_TRY(produce_one(options_.place.topic, position, 0));
    // If it fails, whether it was committed is told by the position that the next run finds.
    return finish("committing a transaction in kafka", rd_kafka_commit_transaction);
  }

  Result<> check() override {
    rd_kafka_poll(client_.handle(), 0);
    if (client_.health()) return {};
    // Brokers close connections that nobody uses: it is away if it does not answer now.
    MR_TRY(client_.partitions(options_.topic));
    client_.answered();
    return client_.health();
  }

 private:
  static void on_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
    auto& self = *static_cast<KafkaSink*>(opaque);
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR && !self.failure_) {
      self.failure_ = kafka_error(message->err, "writing to kafka");
    }
  }

  Result<> produce(const Records& records) {
    for (size_t i = 0; i < records.records.size(); ++i) {
      const auto partition = records.partitions[i] % partitions_;
      MR_TRY(produce_one(options_.topic, records.records[i], partition));
      if (i % 64 == 0) rd_kafka_poll(client_.handle(), 0);
      if (failure_) return *failure_;
    }
    return {};
  }

  Result<> produce_one(const std::string& topic, const wasm::RecordView& record,
                       int32_t partition) {
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
          client_.handle(), RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_PARTITION(partition),
          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
          RD_KAFKA_V_KEY(bytes(record.key), record.key.value_or("").size()),
          RD_KAFKA_V_VALUE(bytes(record.value), record.value.value_or("").size()),
          RD_KAFKA_V_TIMESTAMP(record.timestamp), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
      if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return {};
      rd_kafka_headers_destroy(headers);
      if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) return kafka_error(code, "writing to kafka");
      rd_kafka_poll(client_.handle(), 10);
      MR_TRY(may_go_on());
    }
  }

  Result<> flush() {
    while (rd_kafka_outq_len(client_.handle()) > 0) {
      rd_kafka_flush(client_.handle(), 100);
      MR_TRY(may_go_on());
    }
    return may_go_on();
  }

  /// Calls what goes on where it was when its time is over.
  Result<> finish(const char* doing, rd_kafka_error_t* (*call)(rd_kafka_t*, int)) {
    const auto deadline = std::chrono::steady_clock::now() + kTransactionLimit;
    while (true) {
      const KafkaError failed(call(client_.handle(), kTurnMs));
      if (!failed) return {};
      const bool late = std::chrono::steady_clock::now() > deadline;
      if (!rd_kafka_error_is_retriable(failed.get()) || late) {
        return kafka_error(failed.get(), doing);
      }
      rd_kafka_poll(client_.handle(), 10);  // errors are told here
      MR_TRY(may_go_on());
    }
  }

  Result<> may_go_on() const {
    if (failure_) return *failure_;
    if (progress_.overdue()) return Error{ErrorCode::kCancelled, "the sink is to stop"};
    return client_.health();
  }

  const KafkaSinkOptions& options_;
  const Progress& progress_;
  FarPosition far_position_;
  int32_t partitions_ = 1;
  std::optional<Error> failure_;  // of a delivery, since the last write began
  KafkaClient client_;            // the last: its callbacks use what stands above
};

}  // namespace

Result<Recipe> kafka_sink(Options& given, const catalog::Object& object) {
  auto options = std::make_shared<KafkaSinkOptions>();
  options->place.key = "millrace-sink-" + object.id.to_string();
  options->from = catalog::option_of(object, catalog::kTopicOption);
  MR_TRY(options->settings, KafkaSettings::take(given));
  MR_TRY(options->topic, given.needed("topic", "orders"));
  MR_TRY(const auto delivery,
         given.one_of("delivery", "exactly_once", {"exactly_once", "at_least_once"}));
  options->exactly_once = delivery == "exactly_once";
  const auto positions = given.text("positions_topic");
  if (positions && (positions->empty() || !options->exactly_once)) {
    return Error{ErrorCode::kInvalidConfig,
                 "positions_topic names the topic that holds the position of a sink that is "
                 "exactly once"};
  }
  options->place.topic = positions.value_or("millrace-sink-positions");
  Recipe recipe;
  recipe.sink = [options](const Progress& progress) {
    return std::make_unique<KafkaSink>(*options, progress);
  };
  return recipe;
}

}  // namespace millrace::connect

#include "detail/kafka.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace millrace::client::detail {

namespace {

using Conf = std::unique_ptr<rd_kafka_conf_t, Frees<rd_kafka_conf_destroy>>;
using Headers = std::unique_ptr<rd_kafka_headers_t, Frees<rd_kafka_headers_destroy>>;
using Message = std::unique_ptr<rd_kafka_message_t, Frees<rd_kafka_message_destroy>>;
using Partitions =
    std::unique_ptr<rd_kafka_topic_partition_list_t, Frees<rd_kafka_topic_partition_list_destroy>>;

constexpr size_t kReasonBytesMax = 1024;
constexpr std::chrono::milliseconds kLettersTime{30'000};
constexpr int kCommitMs = 0;  // synchronous

Error failed(ErrorCode code, std::string_view doing, rd_kafka_resp_err_t why) {
  return Error{code, fmt::format("{}: {}", doing, rd_kafka_err2str(why))};
}

Result<Conf> conf_of(const Properties& properties) {
  Conf conf(rd_kafka_conf_new());
  std::array<char, 512> why{};
  for (const auto& [name, value] : properties) {
    if (rd_kafka_conf_set(conf.get(), name.c_str(), value.c_str(), why.data(), why.size()) !=
        RD_KAFKA_CONF_OK) {
      return Error{ErrorCode::kInvalidConfig, why.data()};
    }
  }
  return conf;
}

/// Takes `conf` when it succeeds.
Result<Handle> start(rd_kafka_type_t type, Conf conf) {
  std::array<char, 512> why{};
  Handle handle(rd_kafka_new(type, conf.get(), why.data(), why.size()));
  if (!handle) return Error{ErrorCode::kInvalidConfig, why.data()};
  (void)conf.release();
  return handle;
}

std::optional<std::string> text(const void* at, size_t size) {
  if (!at) return std::nullopt;
  return std::string(static_cast<const char*>(at), size);
}

/// For librdkafka, which has null pointers for nulls, and copies.
void* pointer(const std::optional<std::string_view>& text) {
  if (!text) return nullptr;
  return const_cast<char*>(text->empty() ? "" : text->data());
}

Record record_of(const rd_kafka_message_t& message) {
  Record record{.topic = rd_kafka_topic_name(message.rkt),
                .partition = message.partition,
                .offset = message.offset,
                .timestamp = rd_kafka_message_timestamp(&message, nullptr),
                .key = text(message.key, message.key_len),
                .value = text(message.payload, message.len),
                .headers = {}};
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(&message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return record;
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &size); ++i) {
    record.headers.push_back({name, text(value, size)});
  }
  return record;
}

}  // namespace

// ---- Sender

Result<std::unique_ptr<Sender>> Sender::open(const Properties& properties, bool quiet) {
  auto sender = std::make_unique<Sender>();
  MR_TRY(auto conf, conf_of(properties));
  rd_kafka_conf_set_opaque(conf.get(), sender.get());
  rd_kafka_conf_set_dr_msg_cb(conf.get(), &Sender::delivered);
  if (quiet) {
    const auto drop = [](const rd_kafka_t*, int, const char*, const char*) {};
    rd_kafka_conf_set_log_cb(conf.get(), drop);
  }
  MR_TRY(sender->handle_, start(RD_KAFKA_PRODUCER, std::move(conf)));
  return sender;
}

void Sender::delivered(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
  auto& sender = *static_cast<Sender*>(opaque);
  if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) return;
  if (sender.lost_++ == 0) {
    sender.why_ =
        fmt::format("{}: {}", rd_kafka_topic_name(message->rkt), rd_kafka_err2str(message->err));
  }
}

Result<> Sender::put(const std::string& topic, int32_t partition, const wasm::RecordView& record) {
  Headers headers;
  if (!record.headers.empty()) headers.reset(rd_kafka_headers_new(record.headers.size()));
  for (const auto& each : record.headers) {
    rd_kafka_header_add(headers.get(), each.name.data(), static_cast<ssize_t>(each.name.size()),
                        pointer(each.value), static_cast<ssize_t>(each.value.value_or("").size()));
  }
  while (true) {
    const auto code = rd_kafka_producev(
        handle_.get(), RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_PARTITION(partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY(pointer(record.key), record.key.value_or("").size()),
        RD_KAFKA_V_VALUE(pointer(record.value), record.value.value_or("").size()),
        RD_KAFKA_V_TIMESTAMP(record.timestamp), RD_KAFKA_V_HEADERS(headers.get()), RD_KAFKA_V_END);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
      (void)headers.release();  // the message's
      return {};
    }
    if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
      return failed(code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ? ErrorCode::kRecordTooLarge
                                                                 : ErrorCode::kConnectionClosed,
                    fmt::format("a record for {} cannot be sent", topic), code);
    }
    rd_kafka_poll(handle_.get(), 100);  // a record leaves the queue when its delivery is told
  }
}

Result<> Sender::flush(std::chrono::milliseconds timeout) {
  const auto code = rd_kafka_flush(handle_.get(), static_cast<int>(timeout.count()));
  if (const auto lost = std::exchange(lost_, 0)) {
    return Error{ErrorCode::kConnectionClosed,
                 fmt::format("{} records were not delivered, the first to {}", lost, why_)};
  }
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return {};
  return Error{ErrorCode::kCancelled,
               fmt::format("{} records are not delivered after {} ms",
                           rd_kafka_outq_len(handle_.get()), timeout.count())};
}

// ---- Letters

Result<> Letters::put(const std::string& topic, int32_t partition, const wasm::RecordView& record,
                      std::string_view why) {
  if (!sender_) {
    properties_["acks"] = "all";
    MR_TRY(sender_, Sender::open(properties_, true));
  }
  const auto number = std::to_string(partition);
  const auto offset = std::to_string(record.offset);
  const auto timestamp = std::to_string(record.timestamp);
  std::vector<wasm::HeaderView> headers = {{"reason", why.substr(0, kReasonBytesMax)},
                                           {"topic", topic},
                                           {"partition", number},
                                           {"offset", offset},
                                           {"timestamp", timestamp}};
  headers.insert(headers.end(), record.headers.begin(), record.headers.end());
  wasm::RecordView letter = record;
  letter.timestamp = 0;  // now
  letter.headers = headers;
  return sender_->put(topic + ".dead_letter", 0, letter);
}

Result<> Letters::flush() {
  if (!sender_) return {};
  auto flushed = sender_->flush(kLettersTime);
  if (flushed) return flushed;
  return Error{ErrorCode::kConnectionClosed, "dead letters: " + flushed.error().text};
}

// ---- Receiver

Result<std::unique_ptr<Receiver>> Receiver::open(const Properties& properties,
                                                 const std::vector<std::string>& topics) {
  std::unique_ptr<Receiver> receiver(new Receiver());
  auto ours = properties;
  // Offsets are stored when their records were dealt with, not when librdkafka gave them.
  ours["enable.auto.offset.store"] = "false";
  MR_TRY(auto conf, conf_of(ours));
  MR_TRY(receiver->handle_, start(RD_KAFKA_CONSUMER, std::move(conf)));
  auto* client = receiver->handle_.get();
  rd_kafka_poll_set_consumer(client);
  const Partitions list(rd_kafka_topic_partition_list_new(static_cast<int>(topics.size())));
  for (const auto& topic : topics) {
    rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), RD_KAFKA_PARTITION_UA);
  }
  const auto code = rd_kafka_subscribe(client, list.get());
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return failed(ErrorCode::kInvalidConfig, "subscribing", code);
  }
  return receiver;
}

Receiver::~Receiver() {
  if (handle_) rd_kafka_consumer_close(handle_.get());
}

Result<const std::vector<Record>*> Receiver::batch(std::chrono::milliseconds timeout,
                                                   size_t records_max) {
  if (!held_.empty()) return &held_;
  if (next_error_) return *std::exchange(next_error_, std::nullopt);
  while (held_.size() < records_max) {
    const auto wait = held_.empty() ? static_cast<int>(timeout.count()) : 0;
    const Message message(rd_kafka_consumer_poll(handle_.get(), wait));
    if (!message || message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) break;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      const auto* why = rd_kafka_message_errstr(message.get());
      next_error_ = Error{ErrorCode::kConnectionClosed, fmt::format("receiving: {}", why)};
      break;
    }
    held_.push_back(record_of(*message));
  }
  if (held_.empty() && next_error_) return *std::exchange(next_error_, std::nullopt);
  return &held_;
}

void Receiver::done() {
  for (const auto& record : held_) {
    given_[{record.topic, record.partition}] = record.offset + 1;
  }
  held_.clear();
}

void Receiver::store() {
  if (given_.empty()) return;
  const Partitions list(rd_kafka_topic_partition_list_new(static_cast<int>(given_.size())));
  for (const auto& [at, offset] : given_) {
    rd_kafka_topic_partition_list_add(list.get(), at.first.c_str(), at.second)->offset = offset;
  }
  given_.clear();
  // Partitions that are another member's by now are refused, and that is right.
  rd_kafka_offsets_store(handle_.get(), list.get());
}

Result<> Receiver::commit() {
  store();
  const auto code = rd_kafka_commit(handle_.get(), nullptr, kCommitMs);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR__NO_OFFSET) return {};
  return failed(ErrorCode::kConnectionClosed, "committing offsets", code);
}

}  // namespace millrace::client::detail

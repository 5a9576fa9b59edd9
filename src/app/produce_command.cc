#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <iostream>

#include "app/cli.h"
#include "app/kafka_client.h"

namespace millrace::app {

namespace {

struct Delivery {
  int64_t stored = 0;
  int64_t failed = 0;
  std::string first_failure;
};

void on_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
  auto& delivery = *static_cast<Delivery*>(opaque);
  if (!message->err) {
    ++delivery.stored;
  } else if (++delivery.failed == 1) {
    delivery.first_failure = rd_kafka_err2str(message->err);
  }
}

Result<KafkaHandle> connect(const std::string& address, const ProduceArguments& arguments,
                            Delivery& delivery) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  char text[512];
  for (auto [name, value] : std::initializer_list<std::pair<const char*, std::string>>{
           {"bootstrap.servers", address},
           {"client.id", "millrace"},
           {"acks", "all"},
           {"linger.ms", "5"},
           {"enable.idempotence", "true"},
           {"compression.type", arguments.compression}}) {
    if (rd_kafka_conf_set(conf, name, value.c_str(), text, sizeof text) != RD_KAFKA_CONF_OK) {
      rd_kafka_conf_destroy(conf);
      return Error{ErrorCode::kInvalidConfig, text};
    }
  }
  rd_kafka_conf_set_log_cb(conf, [](const rd_kafka_t*, int, const char*, const char*) {});
  rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  rd_kafka_conf_set_opaque(conf, &delivery);
  KafkaHandle client(rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text));
  if (!client) return Error{ErrorCode::kInvalidConfig, text};
  return client;
}

/// Queues one line; waits while the client's queue is full.
Result<> send(rd_kafka_t* client, const ProduceArguments& arguments, std::string_view line) {
  std::optional<std::string_view> key;
  if (!arguments.key_separator.empty()) {
    size_t cut = line.find(arguments.key_separator);
    if (cut != std::string_view::npos) {
      key = line.substr(0, cut);
      line.remove_prefix(cut + arguments.key_separator.size());
    }
  }
  rd_kafka_headers_t* headers = rd_kafka_headers_new(arguments.headers.size());
  for (const auto& header : arguments.headers) {
    size_t cut = std::min(header.find('='), header.size());
    auto value = std::string_view(header).substr(std::min(cut + 1, header.size()));
    rd_kafka_header_add(headers, header.data(), static_cast<ssize_t>(cut), value.data(),
                        static_cast<ssize_t>(value.size()));
  }
  while (true) {
    auto code = rd_kafka_producev(
        client, RD_KAFKA_V_TOPIC(arguments.topic.c_str()),
        RD_KAFKA_V_PARTITION(arguments.partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_VALUE(const_cast<char*>(line.data()), line.size()),
        RD_KAFKA_V_KEY((key ? key->data() : nullptr), (key ? key->size() : 0)),
        RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return {};  // the headers are the client's now
    if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
      rd_kafka_headers_destroy(headers);
      return kafka_error(code, "producing to " + arguments.topic);
    }
    rd_kafka_poll(client, 100);
  }
}

}  // namespace

int produce(const ProduceArguments& arguments) {
  std::ios::sync_with_stdio(false);  // else every character is a call
  auto target = resolve(arguments.target);
  if (!target) return fail(target.error());
  Delivery delivery;
  // Connecting once by metadata tells at once what would otherwise be a record that times out
  // minutes later.
  // A consumer asks: a producer's question would make the topic.
  auto probe = kafka_connect(RD_KAFKA_CONSUMER, target->kafka);
  if (!probe) return fail(probe.error());
  if (auto known = kafka_metadata(probe->get(), arguments.topic); !known)
    return fail(known.error());
  auto client = connect(target->kafka, arguments, delivery);
  if (!client) return fail(client.error());
  Result<> sent;
  std::string line;
  bool person = isatty(STDIN_FILENO), watched = isatty(STDERR_FILENO) && !person;
  for (int64_t n = 0; sent && std::getline(std::cin, line); ++n) {
    sent = send(client->get(), arguments, line);
    if (n % 1024 == 0) rd_kafka_poll(client->get(), 0);
    if (watched && n % 65'536 == 0 && n > 0) fmt::print(stderr, "\r{} records sent", n);
    if (person) rd_kafka_flush(client->get(), kKafkaTimeoutMs);
  }
  rd_kafka_flush(client->get(), 60'000);
  if (watched) fmt::print(stderr, "\r");
  fmt::print(stderr, "{} records stored in {}\n", delivery.stored, arguments.topic);
  if (!sent) return fail(sent.error());
  if (int64_t lost = delivery.failed + rd_kafka_outq_len(client->get()); lost > 0) {
    return fail(
        {ErrorCode::kIo, fmt::format("{} records were not stored: {}", lost,
                                     delivery.first_failure.empty() ? "no answer in time"
                                                                    : delivery.first_failure)});
  }
  return kOk;
}

}  // namespace millrace::app

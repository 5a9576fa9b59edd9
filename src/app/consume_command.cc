#include <csignal>
#include <cstdio>

#include "app/cli.h"
#include "app/kafka_client.h"
#include "app/table_printer.h"

namespace millrace::app {

namespace {

volatile std::sig_atomic_t interrupted = 0;

std::string_view text(const void* data, size_t size) {
  return {static_cast<const char*>(data), size};
}

std::string headers_json(const rd_kafka_message_t* message) {
  rd_kafka_headers_t* headers = nullptr;
  std::string out = "{";
  if (rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
    const char* name = nullptr;
    const void* value = nullptr;
    size_t size = 0;
    for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &size); ++i) {
      out += (i > 0 ? ", " : "") + json_quote(name) + ": " +
             (value ? json_quote(text(value, size)) : "null");
    }
  }
  return out + "}";
}

void print(const rd_kafka_message_t* message, Output output) {
  bool has_value = message->payload != nullptr;
  if (output == Output::kJson) {
    fmt::print(
        "{{\"partition\": {}, \"offset\": {}, \"timestamp\": {}, \"key\": {}, \"value\": {}, "
        "\"headers\": {}}}\n",
        message->partition, message->offset, rd_kafka_message_timestamp(message, nullptr),
        message->key ? json_quote(text(message->key, message->key_len)) : "null",
        has_value ? json_quote(text(message->payload, message->len)) : "null",
        headers_json(message));
  } else if (output == Output::kCsv) {
    TextTable row({"partition", "offset", "timestamp", "key", "value"});
    std::optional<std::string> key, value;
    if (message->key) key = text(message->key, message->key_len);
    if (has_value) value = text(message->payload, message->len);
    row.add({std::to_string(message->partition), std::to_string(message->offset),
             std::to_string(rd_kafka_message_timestamp(message, nullptr)), key, value});
    std::string lines = render(row, Output::kCsv);
    fmt::print("{}", lines.substr(lines.find('\n') + 1));
  } else {
    fmt::print("{}\n", text(message->payload, message->len));
  }
}

Result<> read(rd_kafka_t* client, const ConsumeArguments& arguments) {
  MR_TRY(auto metadata, kafka_metadata(client, arguments.topic));
  KafkaPartitions list(rd_kafka_topic_partition_list_new(metadata->topics[0].partition_cnt));
  for (int p = 0; p < metadata->topics[0].partition_cnt; ++p) {
    rd_kafka_topic_partition_list_add(list.get(), arguments.topic.c_str(),
                                      metadata->topics[0].partitions[p].id);
  }
  MR_TRY(kafka_choose_offsets(client, "--from", arguments.from, list.get()));
  if (auto code = rd_kafka_assign(client, list.get()))
    return kafka_error(code, "reading " + arguments.topic);
  int ended = 0;
  for (int64_t n = 0; !interrupted && (!arguments.count || n < *arguments.count);) {
    KafkaMessage message(rd_kafka_consumer_poll(client, 200));
    if (!message) {
      std::fflush(stdout);
    } else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      std::fflush(stdout);
      if (arguments.exit_at_end && ++ended == list->cnt) break;
    } else if (message->err) {
      return kafka_error(message->err, "reading " + arguments.topic);
    } else {
      print(message.get(), arguments.output);
      ++n;
    }
  }
  return {};
}

}  // namespace

int consume(const ConsumeArguments& arguments) {
  auto target = resolve(arguments.target);
  if (!target) return fail(target.error());
  // The group is never joined: partitions are assigned, and no offset is committed.
  auto client = kafka_connect(RD_KAFKA_CONSUMER, target->kafka,
                              {{"group.id", "millrace-consume"},
                               {"enable.auto.commit", "false"},
                               {"enable.partition.eof", "true"},
                               {"fetch.wait.max.ms", "100"}});
  if (!client) return fail(client.error());
  std::signal(SIGINT, [](int) { interrupted = 1; });
  std::signal(SIGTERM, [](int) { interrupted = 1; });
  Result<> done = read(client->get(), arguments);
  std::fflush(stdout);
  rd_kafka_consumer_close(client->get());
  return done ? kOk : fail(done.error());
}

}  // namespace millrace::app

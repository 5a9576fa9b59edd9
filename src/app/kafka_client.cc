#include "app/kafka_client.h"

namespace millrace::app {

namespace {

Result<KafkaMetadata> ask(rd_kafka_t* client, rd_kafka_topic_t* topic) {
  const struct rd_kafka_metadata* metadata = nullptr;
  auto code = rd_kafka_metadata(client, topic == nullptr, topic, &metadata, kKafkaTimeoutMs);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return kafka_error(code, "asking for metadata");
  return KafkaMetadata(metadata);
}

}  // namespace

Error kafka_error(rd_kafka_resp_err_t code, const std::string& doing) {
  bool gone = code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ||
              code == RD_KAFKA_RESP_ERR__TIMED_OUT;
  return Error{gone ? ErrorCode::kConnectionClosed : ErrorCode::kInvalidArgument,
               fmt::format("{}: {}", doing, rd_kafka_err2str(code))};
}

Result<KafkaHandle> kafka_connect(rd_kafka_type_t type, const std::string& address,
                                  const std::map<std::string, std::string>& settings) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  char text[512];
  auto set = [&](const std::string& name, const std::string& value) {
    return rd_kafka_conf_set(conf, name.c_str(), value.c_str(), text, sizeof text) ==
           RD_KAFKA_CONF_OK;
  };
  bool good = set("bootstrap.servers", address) && set("client.id", "millrace");
  for (const auto& [name, value] : settings) good = good && set(name, value);
  // Its own log lines would stand between the user's; what fails is told once, by the command.
  rd_kafka_conf_set_log_cb(conf, [](const rd_kafka_t*, int, const char*, const char*) {});
  if (!good) {
    rd_kafka_conf_destroy(conf);
    return Error{ErrorCode::kInvalidConfig, text};
  }
  KafkaHandle client(rd_kafka_new(type, conf, text, sizeof text));
  if (!client) return Error{ErrorCode::kInvalidConfig, text};
  const struct rd_kafka_metadata* metadata = nullptr;
  auto code = rd_kafka_metadata(client.get(), 0, nullptr, &metadata, kKafkaTimeoutMs);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return Error{
        ErrorCode::kConnectionClosed,
        fmt::format("no node answers at {}: {}", address, rd_kafka_err2str(code)), std::nullopt,
        "start one with `millrace serve --data DIR`, or name it with --data DIR or --kafka ADDR"};
  }
  rd_kafka_metadata_destroy(metadata);
  return client;
}

Result<KafkaMetadata> kafka_metadata(rd_kafka_t* client, const std::string& name) {
  if (name.empty()) return ask(client, nullptr);
  rd_kafka_topic_conf_t* conf = rd_kafka_topic_conf_new();
  KafkaTopic topic(rd_kafka_topic_new(client, name.c_str(), conf));
  if (!topic) return kafka_error(rd_kafka_last_error(), "naming topic " + name);
  MR_TRY(auto metadata, ask(client, topic.get()));
  if (metadata->topic_cnt != 1 || metadata->topics[0].err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return Error{
        ErrorCode::kUndefinedObject, fmt::format("there is no topic \"{}\"", name), std::nullopt,
        fmt::format(
            "`millrace topic list` shows those that exist; `millrace topic create {}` makes it",
            name)};
  }
  return metadata;
}

}  // namespace millrace::app

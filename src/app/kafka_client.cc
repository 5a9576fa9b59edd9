#include "app/kafka_client.h"

#include <absl/time/time.h>

#include <charconv>

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
                                  const std::map<std::string, std::string>& settings,
                                  DeliveryReport on_delivery) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  char text[512];
  auto set = [&](const std::string& name, const std::string& value) {
    return rd_kafka_conf_set(conf, name.c_str(), value.c_str(), text, sizeof text) ==
           RD_KAFKA_CONF_OK;
  };
  bool good = set("bootstrap.servers", address) && set("client.id", "millrace");
  for (const auto& [name, value] : settings) good = good && set(name, value);
  if (on_delivery) rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
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

Result<> kafka_choose_offsets(rd_kafka_t* client, const char* option, const std::string& from,
                              rd_kafka_topic_partition_list_t* list) {
  int64_t number = 0;
  auto parsed = std::from_chars(from.data(), from.data() + from.size(), number);
  bool is_number =
      parsed.ec == std::errc() && parsed.ptr == from.data() + from.size() && number >= 0;
  absl::Time time;
  std::string ignored;
  bool is_time = !is_number && from != "beginning" && from != "end" &&
                 absl::ParseTime(absl::RFC3339_full, from, &time, &ignored);
  if (!is_number && !is_time && from != "beginning" && from != "end") {
    return Error{
        ErrorCode::kInvalidArgument,
        fmt::format("{} \"{}\" is neither beginning, end, an offset nor a time", option, from),
        std::nullopt, "a time looks like 2013-01-01T00:00:00Z"};
  }
  for (int i = 0; i < list->cnt; ++i) {
    list->elems[i].offset = from == "beginning" ? RD_KAFKA_OFFSET_BEGINNING
                            : from == "end"     ? RD_KAFKA_OFFSET_END
                            : is_number         ? number
                                                : absl::ToUnixMillis(time);
  }
  if (!is_time) return {};
  auto code = rd_kafka_offsets_for_times(client, list, kKafkaTimeoutMs);
  if (code) return kafka_error(code, "looking for offsets by time");
  for (int i = 0; i < list->cnt; ++i) {
    if (list->elems[i].offset < 0) list->elems[i].offset = RD_KAFKA_OFFSET_END;
  }
  return {};
}

Result<KafkaEvent> kafka_admin(
    rd_kafka_t* client, rd_kafka_admin_op_t operation,
    const std::function<void(const rd_kafka_AdminOptions_t*, rd_kafka_queue_t*)>& send) {
  using Options = std::unique_ptr<rd_kafka_AdminOptions_t, Frees<rd_kafka_AdminOptions_destroy>>;
  KafkaQueue queue(rd_kafka_queue_new(client));
  Options options(rd_kafka_AdminOptions_new(client, operation));
  rd_kafka_AdminOptions_set_request_timeout(options.get(), kKafkaTimeoutMs, nullptr, 0);
  send(options.get(), queue.get());
  KafkaEvent event(rd_kafka_queue_poll(queue.get(), kKafkaTimeoutMs + 2000));
  if (!event) return Error{ErrorCode::kConnectionClosed, "the node did not answer in time"};
  if (auto code = rd_kafka_event_error(event.get()))
    return kafka_error(code, rd_kafka_event_error_string(event.get()));
  return event;
}

}  // namespace millrace::app

#include "connect/detail/kafka_client.h"

#include <fmt/format.h>

#include <algorithm>

#include "catalog/connector.h"

namespace millrace::connect {

namespace {

constexpr std::string_view kPrefix = "librdkafka.";
/// What the connector decides itself, or what nobody may set from SQL: a plugin is code.
constexpr std::string_view kOurs[] = {
    "bootstrap.servers",    "metadata.broker.list",     "group.id",           "enable.auto.commit",
    "auto.offset.reset",    "enable.auto.offset.store", "transactional.id",   "enable.idempotence",
    "plugin.library.paths", "enable.partition.eof",     "ssl.engine.location"};

Result<> set(rd_kafka_conf_t* conf, const std::string& name, const std::string& value) {
  char text[512];
  if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), text, sizeof text) == RD_KAFKA_CONF_OK) {
    return {};
  }
  return Error{ErrorCode::kInvalidConfig,
               catalog::is_secret(name)
                   ? fmt::format("librdkafka does not take the value of {}", name)
                   : fmt::format("librdkafka does not take {} = '{}': {}", name, value, text)};
}

}  // namespace

Result<KafkaSettings> KafkaSettings::take(Options& options) {
  KafkaSettings settings;
  MR_TRY(auto servers, options.needed("bootstrap_servers", "kafka:9092"));
  settings.properties = options.with_prefix(kPrefix);
  KafkaConf conf(rd_kafka_conf_new());
  for (const auto& [name, value] : settings.properties) {
    if (std::ranges::find(kOurs, name) != std::end(kOurs)) {
      return Error{ErrorCode::kInvalidConfig,
                   fmt::format("{}{} cannot be set: the connector does", kPrefix, name)};
    }
    MR_TRY(set(conf.get(), name, value));
  }
  settings.properties["bootstrap.servers"] = std::move(servers);
  return settings;
}

KafkaClient::~KafkaClient() {
  // To leave a group needs its coordinator, without limit; we are in none.
  if (handle_) rd_kafka_destroy_flags(handle_, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

void KafkaClient::on_error(rd_kafka_t* client, int code, const char* reason, void* opaque) {
  auto& self = *static_cast<KafkaClient*>(opaque);
  const auto error = static_cast<rd_kafka_resp_err_t>(code);
  if (error != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && error != RD_KAFKA_RESP_ERR__FATAL &&
      error != RD_KAFKA_RESP_ERR__AUTHENTICATION && error != RD_KAFKA_RESP_ERR__SSL) {
    return;
  }
  char text[512];
  if (error == RD_KAFKA_RESP_ERR__FATAL) {
    rd_kafka_fatal_error(client, text, sizeof text);
    reason = text;
  }
  std::lock_guard lock(self.mutex_);
  self.down_ = fmt::format("{}: {}", rd_kafka_err2str(error), reason);
}

Result<> KafkaClient::start(rd_kafka_type_t type, const KafkaSettings& settings,
                            const std::map<std::string, std::string>& more, Delivered delivered,
                            void* opaque) {
  KafkaConf conf(rd_kafka_conf_new());
  MR_TRY(set(conf.get(), "client.id", "millrace"));
  // Who accepts and does not answer is away, and is noticed soon.
  MR_TRY(set(conf.get(), "socket.timeout.ms", "10000"));
  // A run that cannot reach it ends, and the next waits longer: within one there is little to wait.
  MR_TRY(set(conf.get(), "reconnect.backoff.max.ms", "1000"));
  MR_TRY(set(conf.get(), "allow.auto.create.topics", "false"));
  for (const auto& [name, value] : settings.properties) MR_TRY(set(conf.get(), name, value));
  for (const auto& [name, value] : more) MR_TRY(set(conf.get(), name, value));
  delivered_ = delivered;
  opaque_ = opaque;
  rd_kafka_conf_set_opaque(conf.get(), this);
  rd_kafka_conf_set_error_cb(conf.get(), on_error);
  if (delivered) {
    rd_kafka_conf_set_dr_msg_cb(
        conf.get(), [](rd_kafka_t* client, const rd_kafka_message_t* message, void* self) {
          const auto& owner = *static_cast<KafkaClient*>(self);
          owner.delivered_(client, message, owner.opaque_);
        });
  }
  // What fails is told by status(); its own lines would repeat it every second.
  rd_kafka_conf_set_log_cb(conf.get(), [](const rd_kafka_t*, int, const char*, const char*) {});
  char text[512];
  handle_ = rd_kafka_new(type, conf.get(), text, sizeof text);
  if (!handle_) return Error{ErrorCode::kInvalidConfig, text};
  static_cast<void>(conf.release());  // it is the client's now
  if (type == RD_KAFKA_CONSUMER) rd_kafka_poll_set_consumer(handle_);
  return {};
}

Result<int32_t> KafkaClient::partitions(const std::string& topic) {
  std::unique_ptr<rd_kafka_topic_t, Frees<rd_kafka_topic_destroy>> named(
      rd_kafka_topic_new(handle_, topic.c_str(), nullptr));
  if (!named) return kafka_error(rd_kafka_last_error(), "naming the far topic " + topic);
  const struct rd_kafka_metadata* got = nullptr;
  const auto code = rd_kafka_metadata(handle_, 0, named.get(), &got, kKafkaAnswerMs);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return kafka_error(code, fmt::format("asking kafka for the topic {}", topic));
  }
  std::unique_ptr<const struct rd_kafka_metadata, Frees<rd_kafka_metadata_destroy>> metadata(got);
  if (metadata->topic_cnt != 1 || metadata->topics[0].err != RD_KAFKA_RESP_ERR_NO_ERROR ||
      metadata->topics[0].partition_cnt == 0) {
    return Error{ErrorCode::kUndefinedObject,
                 fmt::format("the far side has no topic \"{}\"", topic)};
  }
  return metadata->topics[0].partition_cnt;
}

Result<int64_t> KafkaClient::offset(const std::string& topic, int32_t partition, int64_t at) {
  const KafkaPartitions one(rd_kafka_topic_partition_list_new(1));
  auto& asked = *rd_kafka_topic_partition_list_add(one.get(), topic.c_str(), partition);
  asked.offset = at;
  auto code = rd_kafka_offsets_for_times(handle_, one.get(), kKafkaAnswerMs);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) code = asked.err;
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return asked.offset;
  return kafka_error(code, fmt::format("asking kafka for offsets of {}/{}", topic, partition));
}

void KafkaClient::answered() {
  if (rd_kafka_type(handle_) == RD_KAFKA_PRODUCER) {
    rd_kafka_poll(handle_, 0);
  } else {
    while (KafkaMessage(rd_kafka_consumer_poll(handle_, 0))) {
    }
  }
  if (rd_kafka_fatal_error(handle_, nullptr, 0) != RD_KAFKA_RESP_ERR_NO_ERROR) return;
  std::lock_guard lock(mutex_);
  down_.reset();
}

Result<> KafkaClient::health() const {
  std::lock_guard lock(mutex_);
  if (!down_) return {};
  return Error{ErrorCode::kConnectionClosed, "kafka cannot be reached: " + *down_};
}

Error kafka_error(rd_kafka_resp_err_t code, const std::string& doing) {
  const bool gone = code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__TIMED_OUT ||
                    code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
  return Error{gone ? ErrorCode::kConnectionClosed : ErrorCode::kInvalidArgument,
               fmt::format("{}: {}", doing, rd_kafka_err2str(code))};
}

Error kafka_error(const rd_kafka_error_t* error, const std::string& doing) {
  return Error{ErrorCode::kConnectionClosed,
               fmt::format("{}: {}", doing, rd_kafka_error_string(error))};
}

}  // namespace millrace::connect

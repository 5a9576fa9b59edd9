#pragma once

#include <librdkafka/rdkafka.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/frees.h"
#include "base/result.h"
#include "connect/detail/options.h"

namespace millrace::connect {

using KafkaConf = std::unique_ptr<rd_kafka_conf_t, Frees<rd_kafka_conf_destroy>>;
using KafkaPartitions =
    std::unique_ptr<rd_kafka_topic_partition_list_t, Frees<rd_kafka_topic_partition_list_destroy>>;
using KafkaMessage = std::unique_ptr<rd_kafka_message_t, Frees<rd_kafka_message_destroy>>;
using KafkaQueue = std::unique_ptr<rd_kafka_queue_t, Frees<rd_kafka_queue_destroy>>;
using KafkaError = std::unique_ptr<rd_kafka_error_t, Frees<rd_kafka_error_destroy>>;

/// How long the far side may take to answer what is asked once. rd_kafka_query_watermark_offsets(),
/// rd_kafka_send_offsets_to_transaction() and rd_kafka_consumer_close() may wait longer, and are
/// not used.
inline constexpr int kKafkaAnswerMs = 5'000;

/// Properties of librdkafka that reach the far side: `bootstrap_servers`, and those that were given
/// as `librdkafka.NAME`.
struct KafkaSettings {
  std::map<std::string, std::string> properties;
  /// Takes them out of `options`; checks each. Errors: kInvalidConfig, without a secret's value.
  static Result<KafkaSettings> take(Options& options);
};

/// One librdkafka client. It is made for one run, so that an idle node has none. One thread, but
/// for what its callbacks note.
class KafkaClient {
 public:
  using Delivered = void (*)(rd_kafka_t*, const rd_kafka_message_t*, void*);
  KafkaClient() = default;
  ~KafkaClient();
  KafkaClient(const KafkaClient&) = delete;
  KafkaClient& operator=(const KafkaClient&) = delete;

  /// `more` stand above the user's settings. Errors: kInvalidConfig.
  Result<> start(rd_kafka_type_t type, const KafkaSettings& settings,
                 const std::map<std::string, std::string>& more, Delivered delivered = nullptr,
                 void* opaque = nullptr);
  rd_kafka_t* handle() const { return handle_; }

  /// The number of partitions. Errors: kConnectionClosed, kUndefinedObject.
  Result<int32_t> partitions(const std::string& topic);
  /// The first offset at or after a time; or RD_KAFKA_OFFSET_BEGINNING, RD_KAFKA_OFFSET_END. -1:
  /// there is none.
  Result<int64_t> offset(const std::string& topic, int32_t partition, int64_t at);
  /// Why no broker can be reached, or why the client can do nothing any more.
  Result<> health() const;
  /// The far side has answered: what was wrong with it before is over, as that the first of its
  /// addresses did not answer. A consumer has no partitions yet.
  void answered();

 private:
  static void on_error(rd_kafka_t* client, int code, const char* reason, void* opaque);

  rd_kafka_t* handle_ = nullptr;
  void* opaque_ = nullptr;  // of `delivered`
  Delivered delivered_ = nullptr;
  mutable std::mutex mutex_;
  std::optional<std::string> down_;
};

/// What librdkafka says, as ours; `doing`: "reading from kafka".
Error kafka_error(rd_kafka_resp_err_t code, const std::string& doing);
Error kafka_error(const rd_kafka_error_t* error, const std::string& doing);

}  // namespace millrace::connect

#pragma once

#include <librdkafka/rdkafka.h>

#include <map>
#include <memory>
#include <string>

#include "base/result.h"

namespace millrace::app {

template <auto f>
struct Deleter {
  template <typename T>
  void operator()(T* p) const {
    f(p);
  }
};

using KafkaHandle = std::unique_ptr<rd_kafka_t, Deleter<rd_kafka_destroy>>;
using KafkaTopic = std::unique_ptr<rd_kafka_topic_t, Deleter<rd_kafka_topic_destroy>>;
using KafkaQueue = std::unique_ptr<rd_kafka_queue_t, Deleter<rd_kafka_queue_destroy>>;
using KafkaMetadata =
    std::unique_ptr<const struct rd_kafka_metadata, Deleter<rd_kafka_metadata_destroy>>;
using KafkaMessage = std::unique_ptr<rd_kafka_message_t, Deleter<rd_kafka_message_destroy>>;

inline constexpr int kKafkaTimeoutMs = 10'000;

/// A librdkafka client of the node at `address`, with `settings` on top of ours.
/// Errors: kInvalidConfig (a setting), kConnectionClosed (nobody answers there).
Result<KafkaHandle> kafka_connect(rd_kafka_type_t type, const std::string& address,
                                  const std::map<std::string, std::string>& settings = {});

/// What the node says of one topic, or of all when `name` is empty. Errors: kUndefinedObject,
/// kConnectionClosed.
Result<KafkaMetadata> kafka_metadata(rd_kafka_t* client, const std::string& name);

/// A client-side or broker error as ours.
Error kafka_error(rd_kafka_resp_err_t code, const std::string& doing);

}  // namespace millrace::app

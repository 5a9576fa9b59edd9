#pragma once

#include <librdkafka/rdkafka.h>

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/frees.h"
#include "base/result.h"

namespace millrace::app {

using KafkaHandle = std::unique_ptr<rd_kafka_t, Frees<rd_kafka_destroy>>;
using KafkaTopic = std::unique_ptr<rd_kafka_topic_t, Frees<rd_kafka_topic_destroy>>;
using KafkaQueue = std::unique_ptr<rd_kafka_queue_t, Frees<rd_kafka_queue_destroy>>;
using KafkaMetadata =
    std::unique_ptr<const struct rd_kafka_metadata, Frees<rd_kafka_metadata_destroy>>;
using KafkaMessage = std::unique_ptr<rd_kafka_message_t, Frees<rd_kafka_message_destroy>>;

using KafkaPartitions =
    std::unique_ptr<rd_kafka_topic_partition_list_t, Frees<rd_kafka_topic_partition_list_destroy>>;

inline constexpr int kKafkaTimeoutMs = 10'000;

using DeliveryReport = void (*)(rd_kafka_t*, const rd_kafka_message_t*, void*);

/// A librdkafka client of the node at `address`, with `settings` on top of ours. `on_delivery`: of
/// a producer, called for each of its messages.
/// Errors: kInvalidConfig (a setting), kConnectionClosed (nobody answers there).
Result<KafkaHandle> kafka_connect(rd_kafka_type_t type, const std::string& address,
                                  const std::map<std::string, std::string>& settings = {},
                                  DeliveryReport on_delivery = nullptr);

/// What the node says of one topic, or of all when `name` is empty. Errors: kUndefinedObject,
/// kConnectionClosed.
Result<KafkaMetadata> kafka_metadata(rd_kafka_t* client, const std::string& name);

/// Sets the offset of each partition of `list` to what `from` says: "beginning", "end" (both as
/// librdkafka's logical offsets), an offset, or a time such as 2013-01-01T00:00:00Z. `option` names
/// it in errors. Errors: kInvalidArgument.
Result<> kafka_choose_offsets(rd_kafka_t* client, const char* option, const std::string& from,
                              rd_kafka_topic_partition_list_t* list);

/// Sends one admin request and waits for its answer.
using KafkaEvent = std::unique_ptr<rd_kafka_event_t, Frees<rd_kafka_event_destroy>>;
Result<KafkaEvent> kafka_admin(
    rd_kafka_t* client, rd_kafka_admin_op_t operation,
    const std::function<void(const rd_kafka_AdminOptions_t*, rd_kafka_queue_t*)>& send);

/// A client-side or broker error as ours.
Error kafka_error(rd_kafka_resp_err_t code, const std::string& doing);

}  // namespace millrace::app

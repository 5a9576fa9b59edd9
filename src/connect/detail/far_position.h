#pragma once

#include <optional>
#include <string>

#include "connect/detail/kafka_client.h"
#include "connect/detail/progress.h"

namespace millrace::connect {

/// A sink's position in the far cluster: the last record with the sink's key in the first partition
/// of a compacted topic, which many sinks share. A record and not an offset of a group, since
/// rd_kafka_send_offsets_to_transaction() ignores its timeout while the group's coordinator is
/// away (librdkafka 2.0 to 2.14). The sink's thread.
class FarPosition {
 public:
  struct Place {
    std::string topic;
    std::string key;
  };
  FarPosition(const KafkaSettings& settings, const Place& place, const Progress& progress)
      : settings_(settings), place_(place), progress_(progress) {}

  /// Makes the topic if there is none. Errors: kConnectionClosed, what the far side refuses.
  Result<> prepare(KafkaClient& client);
  /// The last that was committed; nullopt: none. `client` is the sink's producer, whose
  /// transactions are over and which reads uncommitted. Errors: kConnectionClosed, kCancelled.
  Result<std::optional<std::string>> read(KafkaClient& client);

 private:
  Result<> create(KafkaClient& client);
  /// The last in [from, until).
  Result<std::optional<std::string>> last_in(KafkaClient& reader, int64_t from, int64_t until);

  const KafkaSettings& settings_;
  const Place& place_;
  const Progress& progress_;
};

}  // namespace millrace::connect

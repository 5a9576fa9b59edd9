#pragma once

#include <fmt/format.h>

#include <optional>

#include "broker/broker.h"
#include "kafka/detail/error_codes.h"

namespace millrace::kafka {

/// Kafka's authorized operations, as bits: everyone may do everything, as there are no grants.
inline constexpr int32_t kTopicOperations = 0xdf8;  // read .. describe, describe and alter configs
inline constexpr int32_t kClusterOperations =
    0x1fa0;  // create, alter, describe .. idempotent write

/// The fields that Metadata and DescribeTopicPartitions share for one partition of one node.
template <typename PartitionMetadata>
PartitionMetadata describe_partition(int32_t index) {
  PartitionMetadata partition;
  partition.partition_index = index;
  partition.leader_id = kNodeId;
  partition.leader_epoch = kLeaderEpoch;
  partition.replica_nodes = {kNodeId};
  partition.isr_nodes = {kNodeId};
  return partition;
}

/// Topics that Kafka clients may change or delete: those that are nothing else in SQL.
inline std::optional<Error> refuse_unless_topic(const broker::Topic& topic,
                                                std::string_view action) {
  if (topic.object.kind == catalog::Kind::kTopic) return std::nullopt;
  return Error{ErrorCode::kInvalidArgument,
               fmt::format("'{}' is a {}; {} it in SQL", topic.object.name,
                           catalog::name_of(topic.object.kind), action)};
}

}  // namespace millrace::kafka

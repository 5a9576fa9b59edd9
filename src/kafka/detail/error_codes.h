#pragma once

#include <cstdint>

#include "base/result.h"

namespace millrace::kafka {

/// Error codes that only this wire has; all others come from base/errors.def through wire_code().
/// Source: Kafka's protocol errors.
namespace wire {
inline constexpr int16_t kNone = 0;
inline constexpr int16_t kUnknownTopicOrPartition = 3;
inline constexpr int16_t kCoordinatorLoadInProgress = 14;
inline constexpr int16_t kCoordinatorNotAvailable = 15;
inline constexpr int16_t kNotCoordinator = 16;
inline constexpr int16_t kInvalidTopic = 17;
inline constexpr int16_t kNotEnoughReplicas = 19;
inline constexpr int16_t kInvalidRequiredAcks = 21;
inline constexpr int16_t kIllegalGeneration = 22;
inline constexpr int16_t kTopicAuthorizationFailed = 29;
inline constexpr int16_t kUnsupportedSaslMechanism = 33;
inline constexpr int16_t kIllegalSaslState = 34;
inline constexpr int16_t kUnsupportedVersion = 35;
inline constexpr int16_t kInvalidReplicaAssignment = 39;
inline constexpr int16_t kInvalidRequest = 42;
inline constexpr int16_t kInvalidProducerEpoch = 47;
inline constexpr int16_t kInvalidProducerIdMapping = 49;
inline constexpr int16_t kTransactionalIdAuthorizationFailed = 53;
inline constexpr int16_t kOperationNotAttempted = 55;
inline constexpr int16_t kLogDirNotFound = 57;
inline constexpr int16_t kSaslAuthenticationFailed = 58;
inline constexpr int16_t kFetchSessionIdNotFound = 70;
inline constexpr int16_t kInvalidFetchSessionEpoch = 71;
inline constexpr int16_t kFencedLeaderEpoch = 74;
inline constexpr int16_t kUnknownLeaderEpoch = 75;
inline constexpr int16_t kUnsupportedCompressionType = 76;
inline constexpr int16_t kElectionNotNeeded = 84;
inline constexpr int16_t kNoReassignmentInProgress = 85;
inline constexpr int16_t kInvalidRecord = 87;
inline constexpr int16_t kFeatureUpdateFailed = 96;
inline constexpr int16_t kUnknownTopicId = 100;
inline constexpr int16_t kInconsistentTopicId = 103;
inline constexpr int16_t kFetchSessionTopicIdError = 106;
inline constexpr int16_t kMismatchedEndpointType = 114;
inline constexpr int16_t kUnsupportedEndpointType = 115;
inline constexpr int16_t kTransactionAbortable = 120;
}  // namespace wire

inline int16_t wire_code(const Error& error) {
  return static_cast<int16_t>(info(error.code).kafka);
}

/// The node is the only one of its cluster: its id, and the epoch of every partition's leader.
inline constexpr int32_t kNodeId = 1;
inline constexpr int32_t kLeaderEpoch = 0;

/// What is wrong with the leader epoch that a client knows; kNone when nothing (-1: it knows none).
inline int16_t check_leader_epoch(int32_t epoch) {
  return epoch > kLeaderEpoch ? wire::kUnknownLeaderEpoch : wire::kNone;
}

}  // namespace millrace::kafka

#pragma once

#include "kafka/detail/error_codes.h"

namespace millrace::kafka {

/// What may be done with a group, as bits of Kafka's AclOperation: read, delete, describe, describe
/// and alter configs.
inline constexpr int32_t kGroupOperations = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

/// The code of a failure of the group coordinator. Clients look for the coordinator and ask again
/// when its journal or the node cannot go on now; most of them take any other code for the end of
/// the group. Source: the mappings of Kafka's group coordinator.
inline int16_t group_code(const Error& error) {
  switch (error.code) {
    case ErrorCode::kShuttingDown:
    case ErrorCode::kCancelled:
      return wire::kNotCoordinator;
    case ErrorCode::kDiskFull:
    case ErrorCode::kIo:
    case ErrorCode::kOutOfMemory:
      return wire::kCoordinatorNotAvailable;
    default:
      return wire_code(error);
  }
}

}  // namespace millrace::kafka

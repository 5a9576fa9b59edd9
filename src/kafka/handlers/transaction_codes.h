#pragma once

#include "kafka/detail/error_codes.h"

namespace millrace::kafka {

/// The code of a failure of the transaction coordinator. Clients ask again, after looking for the
/// coordinator, when its journal or the node cannot go on now; older versions of the requests know
/// no PRODUCER_FENCED. Source: the mappings of Kafka's request handlers.
inline int16_t transaction_code(const Error& error, bool knows_fenced) {
  switch (error.code) {
    case ErrorCode::kProducerFenced:
      return knows_fenced ? wire_code(error) : wire::kInvalidProducerEpoch;
    case ErrorCode::kDiskFull:
    case ErrorCode::kIo:
    case ErrorCode::kOutOfMemory:
    case ErrorCode::kShuttingDown:
      return wire::kCoordinatorNotAvailable;
    default:
      return wire_code(error);
  }
}

}  // namespace millrace::kafka

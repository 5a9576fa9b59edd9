#pragma once

#include <cstdint>

#include "base/result.h"
#include "flow/detail/dataflow.h"

namespace millrace::flow {

/// Refuses EMIT ON WINDOW CLOSE when no watermark reaches a column of the result, and says where it
/// ends. Steps the dataflow, which is of no use afterwards.
Result<> check_closes(Dataflow& dataflow, int64_t clock_us);

}  // namespace millrace::flow

#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/result.h"
#include "flow/detail/dataflow.h"

namespace millrace::flow {

/// Plans another view that is read.
using PlanView = std::function<Result<std::unique_ptr<Dataflow>>(const catalog::Object&)>;

/// Refuses EMIT ON WINDOW CLOSE when no watermark reaches a column of the result, and says where it
/// ends. Steps the dataflow, which is of no use afterwards.
Result<> check_closes(Dataflow& dataflow, int64_t clock_us, const PlanView& plan);

}  // namespace millrace::flow

#pragma once

#include <vector>

#include "flow/detail/changelog.h"
#include "flow/detail/dataflow.h"

namespace millrace::flow {

/// The rows as records for `<view>.late`: JSON, and the watermark that they came behind. What is
/// more than a commit record holds is told in a last one, by number.
std::vector<FailedRow> late_records(const std::vector<LateRows>& late, int64_t watermark_us);

}  // namespace millrace::flow

#pragma once

#include <duckdb.hpp>

#include <cstdint>
#include <memory>
#include <vector>

#include "flow/detail/dataflow.h"
#include "flow/detail/evaluator.h"

namespace millrace::flow {

/// `time comparison moment`, the moment being the clock rounded down to units, and an offset.
struct ClockCondition {
  duckdb::ExpressionType comparison = duckdb::ExpressionType::COMPARE_GREATERTHAN;
  int64_t unit_us = 1;
  int64_t offset_us = 0;

  /// Whether it comes to be false as time goes on.
  bool takes_out() const;
};

struct ClockFilterSpec {
  duckdb::vector<duckdb::LogicalType> types;  // of the input
  Expressions times;                          // one a condition, TIMESTAMP or TIMESTAMPTZ
  std::vector<ClockCondition> conditions;
};

/// The rows for which every condition holds at the epoch's clock.
std::unique_ptr<Operator> make_clock_filter(duckdb::ClientContext& context, ClockFilterSpec spec);

}  // namespace millrace::flow

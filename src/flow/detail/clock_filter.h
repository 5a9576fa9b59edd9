#pragma once

#include <duckdb.hpp>

#include <cstdint>
#include <memory>
#include <vector>

#include "flow/detail/dataflow.h"
#include "flow/detail/evaluator.h"

namespace millrace::flow {

/// `time comparison moment`, the moment being the clock rounded down to units, so many months on,
/// and an offset.
struct ClockCondition {
  duckdb::ExpressionType comparison = duckdb::ExpressionType::COMPARE_GREATERTHAN;
  int64_t unit_us = 1;
  int64_t months = 0;
  int64_t offset_us = 0;

  /// Whether it comes to be false as time goes on.
  bool takes_out() const;
};

/// Conditions joined by AND and OR.
struct ClockNode {
  enum class Kind { kAnd, kOr, kClock, kPlain };
  Kind kind = Kind::kAnd;
  std::vector<ClockNode> children = {};
  size_t column = 0;              // of kClock and kPlain: among the spec's columns
  ClockCondition condition = {};  // of kClock
};

struct ClockFilterSpec {
  duckdb::vector<duckdb::LogicalType> types;  // of the input
  // What the conditions look at: times, TIMESTAMP or TIMESTAMPTZ, and conditions that the clock has
  // no part in.
  Expressions columns;
  ClockNode root;
};

/// The clocks from `enter` until `leave`, which is not among them.
struct Stay {
  int64_t enter, leave;
};
/// The clocks at which the condition holds for a row of this time, in their order.
std::vector<Stay> stays_of(const ClockCondition& condition, int64_t time_us);
/// Those in both, and those in one of the two.
std::vector<Stay> common(const std::vector<Stay>& a, const std::vector<Stay>& b);
std::vector<Stay> joined(const std::vector<Stay>& a, const std::vector<Stay>& b);

/// The rows for which the root holds at the epoch's clock.
std::unique_ptr<Operator> make_clock_filter(duckdb::ClientContext& context, ClockFilterSpec spec);

}  // namespace millrace::flow

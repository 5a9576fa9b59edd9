#pragma once

#include <string_view>

#include "base/result.h"

namespace duckdb {
class ClientContext;
class LogicalOperator;
}  // namespace duckdb

namespace millrace::sql {

/// A condition that moves with the clock, in the plan of a standing query: a call of a function of
/// this name, which the optimizer pushes about like any condition, over
///   time        TIMESTAMP or TIMESTAMPTZ, from the row
///   comparison  a duckdb::ExpressionType, as INTEGER: time comparison moment
///   unit        BIGINT, microseconds; moment = clock rounded down to units + months + offset
///   months      BIGINT
///   offset      BIGINT, microseconds
/// Such calls stand under AND and OR, beside conditions that do not move.
inline constexpr std::string_view kClockCondition = "millrace_clock_condition";

/// Puts such calls in place of the WHERE, HAVING and QUALIFY conditions of `plan` that compare a
/// time of the row with now() or its like, moved by constants. Before the optimizer, which would
/// take now() for a constant. Errors: kNotSupported, wherever else the plan asks for the clock.
Result<> mark_clock_conditions(duckdb::ClientContext& context, duckdb::LogicalOperator& plan);

}  // namespace millrace::sql

#pragma once

#include <vector>

#include "broker/broker.h"
#include "sql/detail/core.h"
#include "sql/relation.h"

namespace millrace::sql {

/// Appends the rows of `changes` to `topic` as records, durable when it succeeds: JSON objects of
/// the declared columns, or the raw value. Gives the number of records. Errors: kNotSupported (not
/// an insert), kNotNullViolation, and the log's.
Result<uint64_t> append_rows(Core& core, const broker::Topic& topic,
                             const std::vector<RelationColumn>& columns,
                             std::vector<Change> changes);

}  // namespace millrace::sql

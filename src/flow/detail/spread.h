#pragma once

#include <duckdb.hpp>

#include <memory>
#include <vector>

#include "flow/detail/dataflow.h"
#include "flow/detail/parallel.h"

namespace millrace::flow {

/// Where the shares of a dataflow run.
struct Spread {
  Parallel* parallel = nullptr;  // null: one after the other
  size_t rows_min = 0;           // of an epoch's input, from which on that is worth it
};

/// A dataflow of `plans.size()` shares: the same query planned so many times, so that each has
/// operators of its own. What comes out in an epoch depends on their number, not on `spread`.
Result<std::unique_ptr<Dataflow>> translate(std::vector<sql::PlannedQuery> plans, Emit emit,
                                            Spread spread);

}  // namespace millrace::flow

#pragma once

#include <memory>
#include <vector>

#include "flow/detail/dataflow.h"

namespace millrace::flow {

/// The rows of each epoch, equal ones once with their weights added up. It pays before what makes
/// several rows of one, or costs much for each: for windows that overlap, rows are counted by
/// slide first.
std::unique_ptr<Operator> make_merge_rows(std::vector<duckdb::LogicalType> types);

}  // namespace millrace::flow

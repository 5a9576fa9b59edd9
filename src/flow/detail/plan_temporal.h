#pragma once

#include <duckdb.hpp>

namespace millrace::flow {

/// Whether an ASOF join stands for FOR SYSTEM_TIME AS OF.
bool is_temporal(const duckdb::LogicalComparisonJoin& join);

}  // namespace millrace::flow

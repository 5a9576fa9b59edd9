#pragma once

#include <duckdb.hpp>

namespace millrace::flow {

/// Within `expression`, lets `+`, `-`, time_bucket() and generate_series() of TIMESTAMPs with a
/// constant INTERVAL without months count in microseconds. DuckDB takes each time apart into date
/// and time of day, which for HOP windows was a sixth of the CPU. Times so near to the ends of the
/// range, or infinite, that it could matter are left to DuckDB's functions.
void quicken_times(duckdb::Expression& expression);

}  // namespace millrace::flow

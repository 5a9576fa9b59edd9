#pragma once

#include <string>

namespace millrace::flow {

/// Writes TUMBLE(rel, time, size) and HOP(rel, time, slide, size) of a query as plain SQL, for
/// DuckDB, which has no such functions. `rel` and `time` are names. Not the writing that the node
/// uses: here a window is a row of a series that is joined by what a window means.
std::string expand_windows(const std::string& query);

}  // namespace millrace::flow

#pragma once

#include <string>

namespace millrace::flow {

/// Writes the TUMBLE, HOP, CUMULATE and SESSION of a query as plain SQL, for DuckDB, which has no
/// such functions. `rel`, `time` and keys are names. Not the writing that the node uses: here a
/// window is a row of a series that is joined by what a window means, and a session begins at a row
/// that has no other within the gap before it.
std::string expand_windows(const std::string& query);

}  // namespace millrace::flow

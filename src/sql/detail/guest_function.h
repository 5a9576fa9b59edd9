#pragma once

#include <duckdb.hpp>

#include <duckdb/function/scalar_function.hpp>

#include "sql/detail/core.h"

namespace millrace::sql {

/// A scalar in wasm as DuckDB calls it: a chunk of rows is one call of the guest, on the thread
/// that evaluates. It runs what the function is at that moment, so that CREATE OR REPLACE changes
/// over between two chunks. `planning`: for rows that a view keeps.
///
/// Throws, as CarriedError: kGuestFailed when the guest fails, or refuses a row; kUndefinedFunction
/// when the function is gone, or has other types now.
duckdb::ScalarFunction make_guest_function(Core& core, const catalog::Object& function,
                                           bool planning);

}  // namespace millrace::sql

#pragma once

#include <duckdb.hpp>

#include <string>
#include <vector>

#include "flow/detail/delta.h"
#include "flow/detail/evaluator.h"
#include "flow/detail/row_codec.h"

namespace millrace::flow {

/// The row as a JSON object of `names`; where they do not fit, its columns are "1", "2", …
std::string failed_row_json(const Delta& row, std::vector<std::string> names);

/// Tells of a group or a partition that DuckDB fails over as a whole; the row is that of its key,
/// the values of `keys` as `codec` has written them.
void tell_failed_key(const Evaluator& keys, const RowCodec& codec, const char* key,
                     std::string reason, DeltaStream& out);

}  // namespace millrace::flow

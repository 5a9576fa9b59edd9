#pragma once

#include <duckdb.hpp>

#include <string>
#include <vector>

#include "flow/detail/delta.h"

namespace millrace::flow {

/// The row as a JSON object of `names`; where they do not fit, its columns are "1", "2", …
std::string failed_row_json(const Delta& row, std::vector<std::string> names);

}  // namespace millrace::flow

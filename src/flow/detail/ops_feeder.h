#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "flow/detail/ops_harness.h"

namespace millrace::flow {

/// For tests: feeds every query random changes of the tables a, b and c, of which those in `topics`
/// only grow; after each epoch each view equals DuckDB's answer. The seed is MR_SEED, or random and
/// printed.
void compare_all(const std::vector<std::string>& queries, const std::set<std::string>& topics,
                 size_t epochs);

}  // namespace millrace::flow

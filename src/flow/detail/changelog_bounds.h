#pragma once

#include <cstdint>
#include <map>

#include "flow/detail/changelog.h"

namespace millrace::flow {

/// What a commit says of the view's own columns, by their numbers: no row of a later epoch has a
/// smaller time there. They stand among its watermarks, as `#n`.
Result<std::map<size_t, int64_t>> bounds_of(const log::RecordView& commit);
/// Adds the bounds that the epoch's output has in `frontiers`, if they moved since `written`.
void add_bounds(const std::vector<Frontier>& frontiers, std::map<size_t, int64_t>& written,
                EpochInputs& epoch);

}  // namespace millrace::flow

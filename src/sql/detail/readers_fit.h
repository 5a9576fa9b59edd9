#pragma once

#include <string>

#include "catalog/catalog.h"
#include "sql/detail/planning.h"

namespace millrace::sql {

/// Whether what reads `name`, which has the columns of `old`, gives the same columns as before when
/// it has those of `next`. Errors: kDependentObjects, naming who does not and which columns it
/// uses.
Result<> check_readers_fit(ViewPlanner& planner, const catalog::Snapshot& snapshot,
                           const std::string& name, const catalog::Object& old,
                           const catalog::Object& next);

/// Whether a sink's topic can go on with what `next` writes.
/// Errors: kNotSupported, when it has another format or key; kDependentObjects, other columns.
Result<> check_sink_goes_on(const catalog::Object& old, const catalog::Object& next);

/// Whether a view that reads `names` would read itself, `view`. Errors: kInvalidArgument.
Result<> check_no_cycle(const catalog::Snapshot& snapshot, const std::string& view,
                        const std::vector<std::string>& names);

}  // namespace millrace::sql

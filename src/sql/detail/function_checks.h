#pragma once

#include <string>
#include <string_view>

#include "catalog/function.h"

namespace millrace::sql {

/// What of `function` a transform uses: what it names, else the only one, else the one of its name.
/// `position`: where the statement says it. Errors: kUndefinedFunction.
Result<catalog::ModuleExport> find_export(const catalog::Object& function,
                                          const catalog::Transform& transform, size_t position);

/// Nothing here runs guests.
Error no_guests();

}  // namespace millrace::sql

#pragma once

#include <string>
#include <string_view>

#include "catalog/catalog.h"

namespace millrace::catalog::detail {

/// An object as the catalog's log keeps it: one JSON object, members that hold nothing left out.
std::string to_json(const Object& object);

/// Members that it does not know are passed over: a newer node may have written them. Errors:
/// kCorruptRecord saying which member.
Result<Object> from_json(std::string_view json);

}  // namespace millrace::catalog::detail

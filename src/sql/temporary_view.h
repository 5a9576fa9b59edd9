#pragma once

#include <string>

#include "catalog/catalog.h"

namespace millrace::sql {

/// The view that serves one SUBSCRIBE TO (query), and goes with it. What a crash has left is for
/// the node to drop when it starts.
bool is_temporary_view(const catalog::Object& object);

/// A name that no other object has.
std::string temporary_view_name();

}  // namespace millrace::sql

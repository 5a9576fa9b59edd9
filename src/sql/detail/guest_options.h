#pragma once

#include <string>

#include "catalog/catalog.h"
#include "sql/detail/token_reader.h"

namespace millrace::sql {

/// `[WITH (memory = '128 MiB', time_slice = '20 ms', expansion = 4, look_back = 100)]` of a
/// transform or of a function of SQL, into its options. A look-back is a number of records or a
/// time, and only where `with_look_back`.
Result<> parse_guest_options(TokenReader& reader, catalog::Transform& step, bool with_look_back);
/// "memory = 1048576, time_slice = '20 ms'"; empty when there is none.
std::string guest_limits(const catalog::Transform& step);
/// As it is written, with a space before it; empty when there is none.
std::string guest_options_sql(const catalog::Transform& step);

}  // namespace millrace::sql

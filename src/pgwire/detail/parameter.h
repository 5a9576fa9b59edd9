#pragma once

#include <duckdb.hpp>

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "pgwire/detail/encoder.h"

namespace millrace::pgwire::detail {

/// The value of a bound parameter of PostgreSQL type `oid` (text where it is unknown). Errors:
/// kInvalidText (a text that does not read as the type), kProtocol (binary of a wrong length),
/// kNotSupported (binary of a type that we do not know).
Result<duckdb::Value> read_parameter(int32_t oid, Format format, std::string_view bytes);

/// A NULL of that type.
duckdb::Value null_parameter(int32_t oid);

}  // namespace millrace::pgwire::detail

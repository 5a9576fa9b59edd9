#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace::pgwire::detail {

/// PostgreSQL's binary numeric: int16 count, weight, sign, display scale, then digits in base
/// 10000. `decimal` is [-]digits[.digits] or NaN. Appends to `out`.
void numeric_to_binary(std::string_view decimal, std::string& out);
/// The inverse. Errors: kProtocol.
Result<std::string> numeric_from_binary(std::string_view bytes);

}  // namespace millrace::pgwire::detail

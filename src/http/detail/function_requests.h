#pragma once

#include <string_view>

#include "http/detail/exchange.h"
#include "http/functions.h"

namespace millrace::http::detail {

inline constexpr std::string_view kFunctionsPath = "/v1/functions";

/// Whether the path is one of a function's, or theirs all.
bool is_of_functions(std::string_view path);

/// What /v1/functions, /v1/functions/NAME and /v1/functions/NAME/module answer. May block.
Answer answer_functions(Functions& functions, const Request& request);

}  // namespace millrace::http::detail

#pragma once

#include <string_view>

#include "base/result.h"

namespace millrace::wasm {

/// Refuses a module whose code would take the compiler too much memory, before it is compiled: for
/// each function some 5 KB, for a large one 150 times its size. A module that is malformed passes:
/// wasmtime says where. Errors: kInvalidArgument.
Result<> check_code_size(std::string_view wasm);

}  // namespace millrace::wasm

#pragma once

#include <string>
#include <vector>

#include "catalog/catalog.h"

namespace millrace::sql {

// What a topic or a table calls of functions in wasm: its columns' defaults, which INSERT computes,
// and its watermark, which views compute of each record.

/// The functions that they call, and those of its transforms; sorted.
std::vector<std::string> functions_needed(const catalog::Snapshot& snapshot,
                                          const catalog::Object& object);
bool defaults_call(const catalog::Object& object, const std::string& function);
bool watermark_calls(const catalog::Object& object, const std::string& function);

}  // namespace millrace::sql

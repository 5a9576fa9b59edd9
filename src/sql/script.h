#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace::sql {

/// The statements of a script, each as written from its first token to its last, without the
/// semicolon. Errors: kSyntax (a string, identifier or comment without end).
Result<std::vector<std::string>> split_statements(std::string_view script);

}  // namespace millrace::sql

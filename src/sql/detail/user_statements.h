#pragma once

#include "sql/detail/statements.h"
#include "sql/detail/token_reader.h"

namespace millrace::sql {

/// What follows CREATE USER, or ALTER USER. Errors tell nothing of what stands where the password
/// does.
Result<PutUser> parse_user(TokenReader& reader, bool create);

}  // namespace millrace::sql

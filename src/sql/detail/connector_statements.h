#pragma once

#include <optional>
#include <string>

#include "sql/detail/statements.h"
#include "sql/detail/token_reader.h"

namespace millrace::sql {

/// What follows CREATE, when it is a source or a sink of a connector; nothing, and nothing taken,
/// when it is not: CREATE SINK ... AS is a query's.
Result<std::optional<CreateConnector>> parse_create_connector(TokenReader& reader);

/// What follows ALTER, when it is a connector; nothing, and nothing taken, when it is not.
Result<std::optional<PauseConnector>> parse_alter_connector(TokenReader& reader,
                                                            const catalog::Snapshot& snapshot);

/// The statement that makes `connector`; secrets are left out.
std::string connector_sql(const catalog::Object& connector);

}  // namespace millrace::sql

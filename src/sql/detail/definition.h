#pragma once

#include <string>
#include <string_view>

#include "sql/detail/statements.h"
#include "sql/detail/token_reader.h"

namespace millrace::sql {

/// Parses `( columns ) [WITH ( options )]` of a topic or table into `create`. DuckDB's parser reads
/// the columns, so every type it knows may be used.
Result<> parse_definition(std::string_view sql, TokenReader& reader, CreateObject& create);

/// Parses `[WITH ( options )]` of a materialized view or a sink.
Result<> parse_view_options(TokenReader& reader, catalog::Object& view);

/// The statement that makes `object`, in one spelling.
std::string canonical_sql(const catalog::Object& object);

}  // namespace millrace::sql

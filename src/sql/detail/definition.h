#pragma once

#include <string>
#include <string_view>

#include "sql/detail/statements.h"
#include "sql/detail/token_reader.h"

namespace millrace::sql {

/// Parses `( columns ) [WITH ( options )]` of a topic or table into `create`. DuckDB's parser reads
/// the columns, so every type it knows may be used.
Result<> parse_definition(std::string_view sql, TokenReader& reader, CreateObject& create);

/// Parses `[WITH ( options )] AS query [EMIT CHANGES | EMIT ON WINDOW CLOSE]` of a view into
/// `create`; options and EMIT are a materialized view's.
Result<> parse_view(std::string_view sql, TokenReader& reader, CreateObject& create);

/// Parses `[WITH ( options )]` of a source or sink into its options, as they are: who runs the
/// connector knows them.
Result<> parse_connector_options(TokenReader& reader, catalog::Object& connector);

/// The statement that makes `object`, in one spelling; secrets of connectors are left out.
std::string canonical_sql(const catalog::Object& object);

}  // namespace millrace::sql

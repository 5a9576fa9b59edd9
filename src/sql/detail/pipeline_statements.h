#pragma once

#include <optional>

#include "sql/detail/statements.h"
#include "sql/detail/token_reader.h"

namespace millrace::sql {

/// What follows CREATE, when it is a pipeline; nothing, and nothing taken, when it is not.
Result<std::optional<CreatePipeline>> parse_create_pipeline(TokenReader& reader);
/// What follows ALTER TRANSFORM.
Result<AlterPipeline> parse_alter_pipeline(TokenReader& reader);

/// The statement that makes `pipeline`, in one spelling.
std::string pipeline_sql(const catalog::Object& pipeline);

}  // namespace millrace::sql

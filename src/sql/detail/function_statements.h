#pragma once

#include <optional>

#include "sql/detail/statements.h"
#include "sql/detail/token_reader.h"

namespace millrace::sql {

/// What follows CREATE, when it is a function in another language; nothing, and nothing taken, when
/// it is not: DuckDB's macros are functions too.
Result<std::optional<CreateFunction>> parse_create_function(TokenReader& reader);
/// What follows ALTER FUNCTION.
Result<ResumeFunction> parse_resume_function(TokenReader& reader);
/// What follows ALTER TOPIC.
Result<AlterTransforms> parse_alter_topic(TokenReader& reader);

/// `f[.export][(name => 'value', ...)] [WITH (...)]` of a pipeline or a connector; gives where it
/// stands. The export may be left open. Only a pipeline, whose log it reads, has a look-back.
Result<size_t> parse_step(TokenReader& reader, catalog::Transform& transform);
/// `[ON ERROR reject | dead_letter | skip]`
Result<> parse_on_error(TokenReader& reader, catalog::Transform& transform);
/// What parse_step() reads.
std::string step_sql(const catalog::Transform& transform);
/// The statement that makes a function, from its module's hash.
std::string function_sql(const catalog::Object& function);

/// A transform as ALTER TOPIC says it: redact.mask(field => 'email') ON FETCH FOR GROUP g ON ERROR
/// skip.
std::string transform_sql(const catalog::Transform& transform);

}  // namespace millrace::sql

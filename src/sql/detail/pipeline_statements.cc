#include "sql/detail/pipeline_statements.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <duckdb/common/string_util.hpp>
#include <duckdb/common/types/timestamp.hpp>

#include "catalog/function.h"
#include "catalog/pipeline.h"
#include "sql/detail/errors.h"
#include "sql/detail/function_statements.h"

namespace millrace::sql {
namespace {

using catalog::Object;

/// `a, b, ...`, into an option of the pipeline.
Result<> parse_topics(TokenReader& reader, const char* option, CreatePipeline& create) {
  std::vector<std::string> names;
  do {
    MR_TRY(auto name, reader.name());
    const auto same = [&](const auto& other) {
      return duckdb::StringUtil::CIEquals(other, name.text);
    };
    if (std::ranges::any_of(names, same)) {
      return Error{ErrorCode::kSyntax, fmt::format("topic \"{}\" is named twice", name.text),
                   name.begin};
    }
    names.push_back(name.text);
    create.topics.emplace_back(name.text, name.begin);
  } while (reader.take_symbol(','));
  create.object.options[option] = fmt::format("{}", fmt::join(names, ","));
  return {};
}

/// Behind FROM: `BEGINNING | OFFSET n | TIMESTAMP '...'`
Result<std::string> parse_start(TokenReader& reader) {
  if (reader.take_word("beginning")) return std::string("beginning");
  const bool offset = reader.take_word("offset");
  if (!offset && !reader.take_word("timestamp")) {
    return reader.unexpected("expected BEGINNING, OFFSET n or TIMESTAMP '2026-01-31 12:00:00'");
  }
  const auto begin = reader.peek().begin;
  const auto text = reader.peek().text;
  if (offset) {
    int64_t n = 0;
    const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (reader.peek().kind != Token::Kind::kNumber || bad != std::errc() ||
        end != text.data() + text.size()) {
      return reader.unexpected("expected an offset, for example OFFSET 1000");
    }
    reader.take();
    return fmt::format("offset {}", n);
  }
  if (reader.peek().kind != Token::Kind::kString) {
    return reader.unexpected("expected a time, for example TIMESTAMP '2026-01-31 12:00:00'");
  }
  auto time = guarded(
      [&]() -> Result<duckdb::timestamp_t> { return duckdb::Timestamp::FromString(text, true); });
  if (!time) {
    return Error{ErrorCode::kInvalidText, fmt::format("{} is no time", literal(text)), begin,
                 "For example TIMESTAMP '2026-01-31 12:00:00'; UTC, where no zone is said."};
  }
  reader.take();
  return fmt::format("timestamp {}", duckdb::Timestamp::GetEpochMs(*time));
}

std::string start_sql(const Object& pipeline) {
  const auto start = catalog::pipeline_option(pipeline, catalog::kPipelineStart);
  if (start == "end") return {};
  constexpr std::string_view kTime = "timestamp ";
  if (!start.starts_with(kTime)) return "\nFROM " + duckdb::StringUtil::Upper(start);
  int64_t ms = 0;
  std::from_chars(start.data() + kTime.size(), start.data() + start.size(), ms);
  return fmt::format(
      "\nFROM TIMESTAMP {}",
      literal(duckdb::Timestamp::ToString(duckdb::Timestamp::FromEpochMs(ms)) + "Z"));
}

std::string names_sql(const Object& pipeline, const char* list) {
  std::vector<std::string> names;
  for (const auto& name : catalog::pipeline_topics(pipeline, list)) names.push_back(quoted(name));
  return fmt::format("{}", fmt::join(names, ", "));
}

/// Behind the name: FROM ... INTO ... USING ... [WITH (...)], ... [FROM ...] [ON ERROR ...]
Result<> parse_way(TokenReader& reader, CreatePipeline& create) {
  auto& object = create.object;
  if (!reader.take_word("from")) return reader.unexpected("expected FROM and a topic's name");
  MR_TRY(parse_topics(reader, catalog::kPipelineInputs, create));
  if (!reader.take_word("into")) return reader.unexpected("expected INTO and a topic's name");
  MR_TRY(parse_topics(reader, catalog::kPipelineOutputs, create));
  if (!reader.take_word("using")) return reader.unexpected("expected USING and a function's name");
  do {
    auto& step = object.transforms.emplace_back();
    step.place = catalog::Transform::Place::kPipeline;
    MR_TRY(const auto begin, parse_step(reader, step));
    create.steps.push_back(begin);
  } while (reader.take_symbol(','));
  object.options[catalog::kPipelineStart] = "end";
  if (reader.take_word("from")) {
    MR_TRY(object.options[catalog::kPipelineStart], parse_start(reader));
  }
  catalog::Transform policy;
  MR_TRY(parse_on_error(reader, policy));
  for (auto& step : object.transforms) step.on_error = policy.on_error;
  return reader.expect_end();
}

}  // namespace

Result<std::optional<CreatePipeline>> parse_create_pipeline(TokenReader& reader) {
  auto ahead = reader;
  CreatePipeline create;
  create.or_replace = ahead.take_words({"or", "replace"});
  if (!ahead.take_word("transform")) return std::optional<CreatePipeline>();
  create.if_not_exists = ahead.take_words({"if", "not", "exists"});
  MR_TRY(auto name, ahead.name());
  create.object.kind = catalog::Kind::kPipeline;
  create.object.name = std::move(name.text);
  MR_TRY(parse_way(ahead, create));
  if (create.or_replace && create.if_not_exists) {
    return Error{ErrorCode::kSyntax, "OR REPLACE and IF NOT EXISTS exclude each other"};
  }
  return std::optional(std::move(create));
}

Result<AlterPipeline> parse_alter_pipeline(TokenReader& reader) {
  MR_TRY(auto name, reader.name());
  AlterPipeline alter{std::move(name.text), name.begin, reader.take_word("pause")};
  if (!alter.paused && !reader.take_word("resume")) {
    return reader.unexpected("expected PAUSE or RESUME");
  }
  MR_TRY(reader.expect_end());
  return alter;
}

std::string pipeline_sql(const Object& pipeline) {
  std::vector<std::string> steps;
  for (const auto& step : pipeline.transforms) steps.push_back(step_sql(step));
  const auto on_error = pipeline.transforms.empty() ? catalog::Transform::OnError::kReject
                                                    : pipeline.transforms.front().on_error;
  return fmt::format("CREATE TRANSFORM {}\nFROM {}\nINTO {}\nUSING {}{}\nON ERROR {}",
                     quoted(pipeline.name), names_sql(pipeline, catalog::kPipelineInputs),
                     names_sql(pipeline, catalog::kPipelineOutputs), fmt::join(steps, ", "),
                     start_sql(pipeline), catalog::name_of(on_error));
}

}  // namespace millrace::sql

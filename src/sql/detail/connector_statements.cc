#include "sql/detail/connector_statements.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <duckdb/common/string_util.hpp>

#include "catalog/connector.h"
#include "catalog/function.h"
#include "sql/detail/definition.h"
#include "sql/detail/function_statements.h"

namespace millrace::sql {
namespace {

using catalog::Kind;
using catalog::Transform;

/// `[TRANSFORM step, ... [ON ERROR reject | dead_letter | skip]]`
Result<> parse_transforms(TokenReader& reader, CreateConnector& create) {
  if (!reader.take_word("transform")) return {};
  auto& steps = create.object.transforms;
  do {
    Transform step;
    step.place =
        create.object.kind == Kind::kSource ? Transform::Place::kSource : Transform::Place::kSink;
    MR_TRY(const auto begin, parse_step(reader, step));
    create.steps_begin.push_back(begin);
    steps.push_back(std::move(step));
  } while (reader.take_symbol(','));
  MR_TRY(parse_on_error(reader, steps.front()));
  for (auto& step : steps) step.on_error = steps.front().on_error;
  return {};
}

}  // namespace

Result<std::optional<CreateConnector>> parse_create_connector(TokenReader& reader) {
  auto ahead = reader;
  CreateConnector create;
  create.or_replace = ahead.take_words({"or", "replace"});
  const bool source = ahead.take_word("source");
  if (!source && !ahead.take_word("sink")) return std::optional<CreateConnector>();
  create.if_not_exists = ahead.take_words({"if", "not", "exists"});
  MR_TRY(auto name, ahead.name());
  // A query's sink has WITH or AS here.
  const char* far = source ? "from" : "into";
  const char* near = source ? "into" : "from";
  if (!ahead.take_word(far)) {
    if (!source) return std::optional<CreateConnector>();
    return ahead.unexpected("expected FROM and a connector, for example FROM kafka");
  }
  if (create.or_replace && create.if_not_exists) {
    return Error{ErrorCode::kSyntax, "OR REPLACE and IF NOT EXISTS exclude each other"};
  }
  auto& object = create.object;
  object.kind = source ? Kind::kSource : Kind::kSink;
  object.name = std::move(name.text);
  create.connector_begin = ahead.peek().begin;
  if (!ahead.peek().is_name()) return ahead.unexpected("expected a connector: kafka or http");
  object.options[catalog::kConnectorOption] = duckdb::StringUtil::Lower(ahead.take().text);
  MR_TRY(parse_connector_options(ahead, object));
  MR_TRY(parse_transforms(ahead, create));
  if (!ahead.take_word(near)) {
    return ahead.unexpected(fmt::format("expected {} and a topic", source ? "INTO" : "FROM"));
  }
  MR_TRY(auto topic, ahead.name());
  object.options[catalog::kTopicOption] = topic.text;
  create.topic_begin = topic.begin;
  MR_TRY(ahead.expect_end());
  return std::optional(std::move(create));
}

Result<std::optional<PauseConnector>> parse_alter_connector(TokenReader& reader,
                                                            const catalog::Snapshot& snapshot) {
  auto ahead = reader;
  PauseConnector pause;
  const bool source = ahead.take_word("source");
  if (!source && !ahead.take_word("sink")) return std::optional<PauseConnector>();
  MR_TRY(auto name, ahead.name());
  const auto* object = snapshot.find(name.text);
  if (!source && (!object || object->kind != Kind::kSink)) return std::optional<PauseConnector>();
  pause.kind = source ? Kind::kSource : Kind::kSink;
  pause.name = std::move(name.text);
  pause.name_begin = name.begin;
  pause.paused = ahead.take_word("pause");
  if (!pause.paused && !ahead.take_word("resume")) {
    return ahead.unexpected("expected PAUSE or RESUME");
  }
  MR_TRY(ahead.expect_end());
  return std::optional(std::move(pause));
}

std::string connector_sql(const catalog::Object& connector) {
  const bool source = connector.kind == Kind::kSource;
  std::vector<std::string> options, steps;
  for (const auto& [name, value] : catalog::with_options(connector)) {
    options.push_back(fmt::format("{} = {}",
                                  name.find('.') == std::string::npos ? name : literal(name),
                                  catalog::is_secret(name) ? "'***'" : literal(value)));
  }
  for (const auto& step : connector.transforms) steps.push_back(step_sql(step));
  return fmt::format(
      "CREATE {} {} {} {}{}{}{}{} {} {}", source ? "SOURCE" : "SINK", quoted(connector.name),
      source ? "FROM" : "INTO", catalog::option_of(connector, catalog::kConnectorOption),
      options.empty() ? "" : fmt::format(" WITH ({})", fmt::join(options, ", ")),
      steps.empty() ? "" : " TRANSFORM ", fmt::join(steps, ", "),
      steps.empty()
          ? ""
          : fmt::format(" ON ERROR {}", catalog::name_of(connector.transforms.front().on_error)),
      source ? "INTO" : "FROM", quoted(catalog::option_of(connector, catalog::kTopicOption)));
}

}  // namespace millrace::sql

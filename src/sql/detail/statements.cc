#include "sql/detail/statements.h"

#include <fmt/format.h>

#include "catalog/sink.h"
#include "sql/detail/connector_statements.h"
#include "sql/detail/definition.h"
#include "sql/detail/function_statements.h"
#include "sql/detail/pipeline_statements.h"
#include "sql/detail/subscribe.h"
#include "sql/detail/token_reader.h"
#include "sql/detail/user_statements.h"

namespace millrace::sql {
namespace {

using catalog::Kind;
using Parsed = Result<std::optional<OurStatement>>;

Parsed not_ours() { return std::optional<OurStatement>(); }
template <typename T>
Parsed ours(T statement) {
  return std::optional<OurStatement>(std::move(statement));
}

/// TOPIC, TABLE, VIEW or MATERIALIZED VIEW.
std::optional<Kind> take_kind(TokenReader& reader) {
  if (reader.take_word("topic")) return Kind::kTopic;
  if (reader.take_word("table")) return Kind::kTable;
  if (reader.take_words({"materialized", "view"})) return Kind::kMaterializedView;
  if (reader.take_word("view")) return Kind::kView;
  return std::nullopt;
}

/// What follows CREATE; nothing when DuckDB's parser shall have it.
Result<std::optional<CreateObject>> parse_create(std::string_view sql, TokenReader& reader) {
  CreateObject create;
  create.or_replace = reader.take_words({"or", "replace"});
  create.object.internal = reader.take_word("sink");
  const auto kind = create.object.internal ? Kind::kMaterializedView : take_kind(reader);
  if (!kind) return std::optional<CreateObject>();
  create.object.kind = *kind;
  create.if_not_exists = reader.take_words({"if", "not", "exists"});
  MR_TRY(auto name, reader.name());
  create.object.name = create.object.internal ? catalog::sink_view(name.text) : name.text;
  if (*kind == Kind::kView || *kind == Kind::kMaterializedView) {
    MR_TRY(parse_view(sql, reader, create));
  } else {
    MR_TRY(parse_definition(sql, reader, create));
  }
  MR_TRY(reader.expect_end());
  if (create.or_replace && create.if_not_exists) {
    return Error{ErrorCode::kSyntax, "OR REPLACE and IF NOT EXISTS exclude each other"};
  }
  create.object.sql = canonical_sql(create.object);
  return std::optional(std::move(create));
}

/// Whether the sink of that name is a connector's, not a query's.
bool is_connector_sink(const catalog::Snapshot& snapshot, std::string_view name) {
  const auto* object = snapshot.find(name);
  return object && object->kind == Kind::kSink;
}

Parsed parse_drop(TokenReader& reader, const catalog::Snapshot& snapshot) {
  DropObject drop;
  drop.sink = reader.take_word("sink");
  const auto kind = drop.sink                       ? Kind::kMaterializedView
                    : reader.take_word("function")  ? std::optional(Kind::kFunction)
                    : reader.take_word("source")    ? std::optional(Kind::kSource)
                    : reader.take_word("transform") ? std::optional(Kind::kPipeline)
                    : reader.take_word("user")      ? std::optional(Kind::kUser)
                                                    : take_kind(reader);
  if (!kind) return not_ours();
  drop.kind = *kind;
  drop.if_exists = reader.take_words({"if", "exists"});
  MR_TRY(auto name, reader.name());
  if (drop.sink && is_connector_sink(snapshot, name.text)) {
    drop.kind = Kind::kSink;
    drop.sink = false;
  }
  drop.name = drop.sink ? catalog::sink_view(name.text) : name.text;
  drop.name_begin = name.begin;
  drop.cascade = reader.take_word("cascade");
  if (!drop.cascade) reader.take_word("restrict");
  MR_TRY(reader.expect_end());
  return ours(std::move(drop));
}

Parsed parse_alter(TokenReader& reader, const catalog::Snapshot& snapshot) {
  MR_TRY(auto connector, parse_alter_connector(reader, snapshot));
  if (connector) return ours(std::move(*connector));
  if (reader.take_word("function")) {
    MR_TRY(auto resume, parse_resume_function(reader));
    return ours(std::move(resume));
  }
  if (reader.take_word("topic")) {
    MR_TRY(auto alter, parse_alter_topic(reader));
    return ours(std::move(alter));
  }
  if (reader.take_word("transform")) {
    MR_TRY(auto alter, parse_alter_pipeline(reader));
    return ours(std::move(alter));
  }
  if (reader.take_word("user")) {
    MR_TRY(auto user, parse_user(reader, false));
    return ours(std::move(user));
  }
  PauseView pause;
  pause.sink = reader.take_word("sink");
  if (!pause.sink && !reader.take_words({"materialized", "view"})) return not_ours();
  MR_TRY(auto name, reader.name());
  pause.name = pause.sink ? catalog::sink_view(name.text) : name.text;
  pause.name_begin = name.begin;
  pause.paused = reader.take_word("pause");
  if (!pause.paused && !reader.take_word("resume")) {
    return reader.unexpected("expected PAUSE or RESUME");
  }
  MR_TRY(reader.expect_end());
  return ours(std::move(pause));
}

Parsed parse_show(TokenReader& reader) {
  using What = ShowObjects::What;
  constexpr std::pair<std::string_view, What> kLists[] = {{"topics", What::kTopics},
                                                          {"tables", What::kTables},
                                                          {"views", What::kViews},
                                                          {"sinks", What::kSinks},
                                                          {"functions", What::kFunctions},
                                                          {"transforms", What::kTransforms},
                                                          {"sources", What::kSources},
                                                          {"users", What::kUsers},
                                                          {"all", What::kAll}};
  for (const auto& [word, what] : kLists) {
    if (!reader.take_word(word)) continue;
    MR_TRY(reader.expect_end());
    return ours(ShowObjects{what});
  }
  if (!reader.take_word("create")) return not_ours();
  const bool with_kind = !reader.peek(1).is_symbol('.') && reader.peek(1).is_name();
  if (with_kind && !reader.take_word("sink") && !reader.take_word("source") &&
      !reader.take_word("transform")) {
    take_kind(reader);
  }
  MR_TRY(auto name, reader.name());
  MR_TRY(reader.expect_end());
  return ours(ShowCreate{std::move(name.text), name.begin});
}

/// DESCRIBE name and EXPLAIN name: ours when the rest is the name of an object of ours.
const catalog::Object* named_object(TokenReader& reader, const catalog::Snapshot& snapshot) {
  if (!reader.peek().is_name()) return nullptr;
  auto name = reader.name();
  if (!name || !reader.at_end()) return nullptr;
  return snapshot.find(name->text);
}

Parsed parse_describe(TokenReader& reader, const catalog::Snapshot& snapshot) {
  const auto begin = reader.peek().begin;
  const bool with_kind = !reader.peek(1).is_symbol('.') &&
                         reader.peek(1).kind != Token::Kind::kEnd && take_kind(reader).has_value();
  const auto name = reader.peek();
  if (const auto* object = named_object(reader, snapshot))
    return ours(DescribeObject{object->name});
  if (!with_kind) return not_ours();
  return Error{ErrorCode::kUndefinedObject, fmt::format("\"{}\" does not exist", name.text),
               name.begin > begin ? name.begin : begin};
}

Parsed parse_explain(TokenReader& reader, const catalog::Snapshot& snapshot) {
  if (reader.peek().is("topic") && reader.peek(1).is_name()) {
    reader.take();
    MR_TRY(auto name, reader.name());
    MR_TRY(reader.expect_end());
    return ours(ExplainTopic{std::move(name.text), name.begin});
  }
  const bool analyze = reader.take_word("analyze");
  reader.take_words({"materialized", "view"});
  const auto* object = named_object(reader, snapshot);
  if (const auto* sink = object ? catalog::sink_of(snapshot, object->name) : nullptr) object = sink;
  if (!object || object->kind != Kind::kMaterializedView) return not_ours();
  return ours(ExplainView{object->name, analyze});
}

Parsed parse_apply(std::string_view sql, TokenReader& reader) {
  ApplyObject apply;
  apply.dry_run = reader.take_words({"dry", "run"});
  if (reader.take_words({"alter", "topic"})) {
    MR_TRY(apply.alter, parse_alter_topic(reader));
    if (apply.alter->add) return ours(std::move(apply));
    return Error{ErrorCode::kSyntax, "APPLY takes nothing away", apply.alter->topic_begin,
                 "DROP TRANSFORM is a statement of its own."};
  }
  if (!reader.take_word("create")) {
    return reader.unexpected("APPLY takes CREATE ..., or ALTER TOPIC ... ADD TRANSFORM ...");
  }
  if (reader.peek().is("user")) {
    return Error{ErrorCode::kNotSupported, "users are no part of a project", reader.peek().begin,
                 "A file of the project would hold the password. Send CREATE USER by itself."};
  }
  MR_TRY(apply.function, parse_create_function(reader));
  MR_TRY(apply.connector, parse_create_connector(reader));
  MR_TRY(apply.pipeline, parse_create_pipeline(reader));
  const auto replaces = [](auto& create) {
    if (!create) return false;
    create->or_replace = true;
    create->if_not_exists = false;
    return true;
  };
  if (replaces(apply.function) || replaces(apply.connector) || replaces(apply.pipeline)) {
    return ours(std::move(apply));
  }
  MR_TRY(auto create, parse_create(sql, reader));
  if (!create) {
    return reader.unexpected(
        "APPLY takes CREATE TOPIC, TABLE, VIEW, MATERIALIZED VIEW, SOURCE, SINK, FUNCTION or "
        "TRANSFORM");
  }
  apply.create = std::move(*create);
  return ours(std::move(apply));
}

bool is_end(const TokenReader& reader) {
  return reader.at_end() || reader.peek().is("transaction") || reader.peek().is("work");
}

}  // namespace

Parsed parse_ours(std::string_view sql, const std::vector<Token>& tokens,
                  const catalog::Snapshot& snapshot) {
  TokenReader reader(tokens);
  if (reader.take_word("create")) {
    if (reader.take_word("user")) {
      MR_TRY(auto user, parse_user(reader, true));
      return ours(std::move(user));
    }
    MR_TRY(auto function, parse_create_function(reader));
    if (function) return ours(std::move(*function));
    MR_TRY(auto connector, parse_create_connector(reader));
    if (connector) return ours(std::move(*connector));
    MR_TRY(auto pipeline, parse_create_pipeline(reader));
    if (pipeline) return ours(std::move(*pipeline));
    MR_TRY(auto create, parse_create(sql, reader));
    if (!create) return not_ours();
    return ours(std::move(*create));
  }
  if (reader.take_word("drop")) return parse_drop(reader, snapshot);
  if (reader.take_word("alter")) return parse_alter(reader, snapshot);
  if (reader.take_word("show")) return parse_show(reader);
  if (reader.take_word("describe") || reader.take_word("desc")) {
    return parse_describe(reader, snapshot);
  }
  if (reader.take_word("explain")) return parse_explain(reader, snapshot);
  if (reader.take_word("apply")) return parse_apply(sql, reader);
  if (reader.take_word("subscribe")) {
    MR_TRY(auto subscribe, parse_subscribe(sql, reader));
    return ours(std::move(subscribe));
  }
  // PostgreSQL's isolation levels and access modes may follow; ours is always a snapshot.
  if (reader.take_word("begin") || reader.take_words({"start", "transaction"})) {
    return ours(BeginTransaction{});
  }
  if (reader.take_word("commit") || reader.take_word("end")) {
    if (is_end(reader)) return ours(EndTransaction{true});
    return reader.unexpected();
  }
  if (reader.take_word("rollback") || reader.take_word("abort")) {
    if (is_end(reader)) return ours(EndTransaction{false});
    return Error{ErrorCode::kNotSupported, "savepoints are not supported", reader.peek().begin};
  }
  return not_ours();
}

}  // namespace millrace::sql

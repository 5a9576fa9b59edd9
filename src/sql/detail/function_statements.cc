#include "sql/detail/function_statements.h"

#include <fmt/format.h>

#include <algorithm>
#include <duckdb.hpp>
#include <duckdb/common/string_util.hpp>

#include "catalog/function.h"
#include "sql/detail/guest_options.h"
#include "sql/format.h"

namespace millrace::sql {
namespace {

using catalog::Transform;

bool is_text(const Token& token) { return token.is_name() || token.kind == Token::Kind::kString; }

/// A parameter's value: a string, a number, a word.
Result<std::string> take_value(TokenReader& reader) {
  std::string sign;
  while (reader.peek().is_symbol('-') || reader.peek().is_symbol('+')) sign += reader.take().text;
  if (!is_text(reader.peek()) && reader.peek().kind != Token::Kind::kNumber) {
    return reader.unexpected("expected a value, for example 'text' or 10");
  }
  return sign + reader.take().text;
}

/// `(name => 'value', ...)`
Result<> parse_params(TokenReader& reader, Transform& transform) {
  if (!reader.take_symbol('(')) return {};
  if (reader.take_symbol(')')) return {};
  do {
    if (!is_text(reader.peek())) return reader.unexpected("expected a parameter: name => 'value'");
    const auto name = reader.take();
    if (!reader.take_symbol('=') || !reader.take_symbol('>')) {
      return reader.unexpected("expected \"=>\" and the parameter's value");
    }
    MR_TRY(auto value, take_value(reader));
    if (!transform.params.emplace(name.text, std::move(value)).second) {
      return Error{ErrorCode::kSyntax,
                   fmt::format("the parameter \"{}\" is given twice", name.text), name.begin};
    }
  } while (reader.take_symbol(','));
  return reader.expect_symbol(')');
}

/// `(name => 'value', ...)`; empty when there is none.
std::string params_sql(const Transform& step) {
  std::string params;
  for (const auto& [name, value] : step.params) {
    params += fmt::format("{}{} => {}", params.empty() ? "(" : ", ", quoted(name), literal(value));
  }
  return params.empty() ? params : params + ")";
}

std::string call_sql(const Transform& step) {
  return fmt::format("{}.{}{}", quoted(step.function), quoted(step.export_name), params_sql(step));
}

/// `ON PRODUCE | ON FETCH [FOR GROUP g | FOR USER u]`, which may be left out of DROP.
Result<> parse_place(TokenReader& reader, AlterTransforms& alter) {
  const auto begin = reader.peek().begin;
  if (reader.take_words({"on", "produce"})) {
    alter.transform.place = Transform::Place::kProduce;
  } else if (reader.take_words({"on", "fetch"})) {
    alter.transform.place = Transform::Place::kFetch;
  } else if (alter.add) {
    return reader.unexpected("expected ON PRODUCE or ON FETCH");
  } else {
    alter.any_place = true;
    return {};
  }
  if (!reader.take_word("for")) return {};
  const bool user = reader.take_word("user");
  if (!user && !reader.take_word("group"))
    return reader.unexpected("expected GROUP or USER, and its name");
  if (alter.transform.place == Transform::Place::kProduce) {
    return Error{ErrorCode::kSyntax,
                 user ? "what is produced goes through a transform whoever produces it"
                      : "a producer is of no group",
                 begin, fmt::format("FOR {} stands behind ON FETCH.", user ? "USER" : "GROUP")};
  }
  if (!is_text(reader.peek())) {
    return reader.unexpected(fmt::format("expected the {}'s name", user ? "user" : "group"));
  }
  (user ? alter.transform.user : alter.transform.group) = reader.take().text;
  return {};
}

}  // namespace

Result<> parse_on_error(TokenReader& reader, Transform& transform) {
  using OnError = Transform::OnError;
  if (!reader.take_words({"on", "error"})) return {};
  for (const auto each : {OnError::kReject, OnError::kDeadLetter, OnError::kSkip}) {
    if (!is_text(reader.peek()) ||
        !duckdb::StringUtil::CIEquals(reader.peek().text, std::string(catalog::name_of(each)))) {
      continue;
    }
    reader.take();
    transform.on_error = each;
    return {};
  }
  return reader.unexpected("expected reject, dead_letter or skip");
}

Result<size_t> parse_step(TokenReader& reader, Transform& transform) {
  if (!reader.peek().is_name()) return reader.unexpected("expected a function's name");
  const auto begin = reader.peek().begin;
  transform.function = reader.take().text;
  if (reader.take_symbol('.')) {
    if (!reader.peek().is_name()) return reader.unexpected("expected the name of an export");
    transform.export_name = reader.take().text;
  }
  MR_TRY(parse_params(reader, transform));
  const bool pipeline = transform.place == Transform::Place::kPipeline;
  MR_TRY(parse_guest_options(reader, transform, pipeline));
  return begin;
}

namespace {

/// What the guest ABI has bytes for.
Result<std::string> take_type(TokenReader& reader) {
  const auto begin = reader.peek();
  if (!begin.is_name()) return reader.unexpected("expected a type");
  auto type = parse_type(reader.take().text);
  if (type && begin.is("double")) reader.take_word("precision");
  constexpr std::string_view kTypes[] = {"VARCHAR", "BLOB", "BIGINT", "DOUBLE", "BOOLEAN"};
  if (type && std::ranges::find(kTypes, type->ToString()) != std::end(kTypes)) {
    return type->ToString();
  }
  return Error{
      ErrorCode::kNotSupported,
      fmt::format("a function in wasm takes and gives no {}", type ? type->ToString() : begin.text),
      begin.begin,
      "VARCHAR, BLOB, BIGINT, DOUBLE and BOOLEAN are what a module knows; smaller numbers "
      "become BIGINT or DOUBLE by themselves, other types by a cast in the query."};
}

/// `([name] type, ...) RETURNS type`
Result<> parse_signature(TokenReader& reader, CreateFunction& create) {
  reader.take_symbol('(');
  while (!reader.peek().is_symbol(')')) {
    if (!create.arguments.empty()) MR_TRY(reader.expect_symbol(','));
    catalog::Column argument;
    const bool named = reader.peek(1).is_name() && !reader.peek(1).is("precision");
    if (named) argument.name = reader.take().text;
    MR_TRY(argument.type, take_type(reader));
    create.arguments.push_back(std::move(argument));
  }
  reader.take_symbol(')');
  if (!reader.take_word("returns")) return reader.unexpected("expected RETURNS and a type");
  MR_TRY(create.returns, take_type(reader));
  return {};
}

/// `(...)` is followed by RETURNS; a macro's is by AS.
bool is_signature(TokenReader ahead) {
  int depth = 0;
  do {
    const auto& token = ahead.take();
    depth += token.is_symbol('(') ? 1 : token.is_symbol(')') ? -1 : 0;
  } while (depth > 0 && !ahead.at_end());
  return ahead.peek().is("returns") || ahead.peek().is("language");
}

}  // namespace

Result<std::optional<CreateFunction>> parse_create_function(TokenReader& reader) {
  auto ahead = reader;
  CreateFunction create;
  create.or_replace = ahead.take_words({"or", "replace"});
  if (!ahead.take_word("function")) return std::optional<CreateFunction>();
  create.if_not_exists = ahead.take_words({"if", "not", "exists"});
  MR_TRY(auto name, ahead.name());
  create.name = std::move(name.text);
  if (ahead.peek().is_symbol('(')) {
    if (!is_signature(ahead)) return std::optional<CreateFunction>();
    MR_TRY(parse_signature(ahead, create));
  }
  if (!ahead.take_word("language")) return ahead.unexpected("expected LANGUAGE wasm");
  if (!ahead.take_word("wasm")) {
    return ahead.unexpected("a function's language is wasm");
  }
  if (!ahead.take_word("from")) return ahead.unexpected("expected FROM 'path.wasm'");
  if (ahead.peek().kind != Token::Kind::kString) {
    return ahead.unexpected("expected where the module is, as 'path.wasm'");
  }
  create.source_begin = ahead.peek().begin;
  create.source = ahead.take().text;
  create.export_begin = ahead.peek().begin;
  if (!create.returns.empty()) {
    if (ahead.take_word("export")) {
      if (!ahead.peek().is_name()) return ahead.unexpected("expected the name of an export");
      create.scalar.export_name = ahead.take().text;
      MR_TRY(parse_params(ahead, create.scalar));
    }
    MR_TRY(parse_guest_options(ahead, create.scalar, false));
  } else if (ahead.peek().is("export") || ahead.peek().is("with")) {
    return ahead.unexpected(
        "Only a function of SQL has these: CREATE FUNCTION name(types) RETURNS type LANGUAGE ...");
  }
  MR_TRY(ahead.expect_end());
  if (create.or_replace && create.if_not_exists) {
    return Error{ErrorCode::kSyntax, "OR REPLACE and IF NOT EXISTS exclude each other"};
  }
  return std::optional(std::move(create));
}

Result<ResumeFunction> parse_resume_function(TokenReader& reader) {
  MR_TRY(auto name, reader.name());
  if (!reader.take_word("resume")) return reader.unexpected("expected RESUME");
  MR_TRY(reader.expect_end());
  return ResumeFunction{std::move(name.text), name.begin};
}

Result<AlterTransforms> parse_alter_topic(TokenReader& reader) {
  AlterTransforms alter;
  MR_TRY(auto topic, reader.name());
  alter.topic = std::move(topic.text);
  alter.topic_begin = topic.begin;
  alter.add = reader.take_word("add");
  if (!alter.add && !reader.take_word("drop")) return reader.unexpected("expected ADD or DROP");
  if (!reader.take_word("transform")) return reader.unexpected("expected TRANSFORM");
  if (!reader.peek().is_name()) return reader.unexpected("expected a function's name");
  alter.begin = reader.peek().begin;
  alter.transform.function = reader.take().text;
  if (reader.take_symbol('.')) {
    if (!reader.peek().is_name()) return reader.unexpected("expected the name of an export");
    alter.transform.export_name = reader.take().text;
  }
  if (alter.add) MR_TRY(parse_params(reader, alter.transform));
  MR_TRY(parse_place(reader, alter));
  if (alter.add) MR_TRY(parse_on_error(reader, alter.transform));
  if (alter.add) MR_TRY(parse_guest_options(reader, alter.transform, true));
  MR_TRY(reader.expect_end());
  return alter;
}

std::string step_sql(const Transform& transform) {
  return call_sql(transform) + guest_options_sql(transform);
}

std::string function_sql(const catalog::Object& function) {
  const auto source = literal("sha256:" + catalog::module_hash(function));
  if (!catalog::is_scalar(function)) {
    return fmt::format("CREATE FUNCTION {} LANGUAGE wasm FROM {}", quoted(function.name), source);
  }
  std::string arguments;
  for (const auto& each : function.columns) {
    arguments += fmt::format("{}{}{}{}", arguments.empty() ? "" : ", ",
                             each.name.empty() ? "" : quoted(each.name),
                             each.name.empty() ? "" : " ", each.type);
  }
  const auto step = catalog::scalar_step(function);
  return fmt::format("CREATE FUNCTION {}({}) RETURNS {} LANGUAGE wasm FROM {} EXPORT {}{}{}",
                     quoted(function.name), arguments, function.options.at(catalog::kReturns),
                     source, quoted(step.export_name), params_sql(step), guest_options_sql(step));
}

std::string transform_sql(const Transform& transform) {
  using Place = Transform::Place;
  if (transform.place != Place::kProduce && transform.place != Place::kFetch) {
    return fmt::format("{} ON ERROR {}", step_sql(transform), catalog::name_of(transform.on_error));
  }
  const auto whom = !transform.group.empty()  ? " FOR GROUP " + quoted(transform.group)
                    : !transform.user.empty() ? " FOR USER " + quoted(transform.user)
                                              : std::string();
  return fmt::format("{} ON {}{} ON ERROR {}{}", call_sql(transform),
                     duckdb::StringUtil::Upper(std::string(catalog::name_of(transform.place))),
                     whom, catalog::name_of(transform.on_error), guest_options_sql(transform));
}

}  // namespace millrace::sql

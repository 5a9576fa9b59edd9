#include "pgwire/detail/rewrite.h"

#include <fmt/format.h>

#include "pgwire/detail/lexer.h"
#include "pgwire/detail/types.h"

namespace millrace::pgwire::detail {
namespace {

std::string literal(std::string_view text) {
  std::string result = "'";
  for (char c : text) result += c == '\'' ? std::string("''") : std::string(1, c);
  return result + "'";
}

/// The rows that asyncpg's query over pg_type would give for array types.
Rewritten type_introspection() {
  std::string rows;
  for (const NamedType& type : named_types()) {
    int32_t array = array_of(type.oid);
    if (array == 0) continue;
    rows += fmt::format("{}({},'_{}',{},'{}')", rows.empty() ? "" : ",", array, type.name, type.oid,
                        type.name);
  }
  return {
      fmt::format("SELECT oid, 'pg_catalog' AS ns, name, 'b' AS kind, NULL::BIGINT AS basetype, "
                  "elemtype, ',' AS elemdelim, NULL::BIGINT AS range_subtype, NULL::VARCHAR AS "
                  "attrtypoids, NULL::VARCHAR AS attrnames, 0 AS depth, NULL::VARCHAR AS "
                  "basetype_name, elemtype_name, NULL::VARCHAR AS range_subtype_name "
                  "FROM (VALUES {}) AS t(oid, name, elemtype, elemtype_name) "
                  "WHERE list_contains($1::BIGINT[], oid)",
                  rows),
      {array_of(oid::kOid)}};
}

/// Walks the tokens and copies what it does not replace.
class Rewriter {
 public:
  Rewriter(std::string_view sql, const Settings& settings, int32_t process)
      : sql_(sql), settings_(settings), process_(process), lexer_(sql) {}

  std::optional<Rewritten> run() {
    while (lexer_.peek().kind != Token::Kind::kEnd) {
      Token token = lexer_.take();
      size_t begin = token.begin;
      if (token.is("pg_catalog") && lexer_.take_symbol('.')) {
        token = lexer_.take();
      } else if (token.is_symbol('.')) {
        lexer_.take();  // a name in another schema, or a column
        continue;
      }
      if (token.kind == Token::Kind::kWord && lexer_.peek().is_symbol('(')) call(token, begin);
    }
    if (out_.empty()) return std::nullopt;
    out_ += sql_.substr(copied_);
    return Rewritten{std::move(out_), {}};
  }

 private:
  void call(const Token& name, size_t begin) {
    bool current = name.is("current_setting");
    if (current || name.is("set_config")) return setting(current, begin);
    std::string value;
    if (name.is("version")) {
      value = literal("PostgreSQL " + settings_.get("server_version"));
    } else if (name.is("pg_backend_pid")) {
      value = fmt::format("{}", process_);
    } else if (name.is("pg_is_in_recovery")) {
      value = "false";
    } else if (name.is("pg_get_userbyid")) {
      value = literal(settings_.get("session_authorization"));
    } else {
      return;
    }
    lexer_.take();
    if (name.is("pg_get_userbyid")) skip_argument();  // there are no other users
    if (lexer_.peek().is_symbol(')')) replace(begin, value);
  }

  void setting(bool current, size_t begin) {
    lexer_.take();
    if (lexer_.peek().kind != Token::Kind::kString) return;
    std::string name = lexer_.take().text;
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    if (!Settings::knows(name)) return;
    std::string value = literal(settings_.get(name));
    if (!current) {
      if (!lexer_.take_symbol(',')) return;
      size_t from = lexer_.peek().begin;
      skip_argument();
      value = fmt::format("CAST({} AS VARCHAR)", sql_.substr(from, lexer_.peek().begin - from));
    }
    while (lexer_.take_symbol(',')) skip_argument();
    if (lexer_.peek().is_symbol(')')) replace(begin, value);
  }

  /// To the comma or parenthesis that ends it.
  void skip_argument() {
    int depth = 0;
    while (lexer_.peek().kind != Token::Kind::kEnd) {
      const Token& token = lexer_.peek();
      if (depth == 0 && (token.is_symbol(',') || token.is_symbol(')'))) return;
      if (token.is_symbol('(')) depth++;
      if (token.is_symbol(')')) depth--;
      lexer_.take();
    }
  }

  /// Puts `value` in place of what stands from `begin` to the closing parenthesis, which is next.
  void replace(size_t begin, std::string_view value) {
    out_ += sql_.substr(copied_, begin - copied_);
    out_ += value;
    copied_ = lexer_.take().end;
  }

  std::string_view sql_;
  const Settings& settings_;
  int32_t process_;
  Lexer lexer_;
  std::string out_;
  size_t copied_ = 0;
};

}  // namespace

std::optional<Rewritten> rewrite(std::string_view sql, const Settings& settings, int32_t process) {
  if (sql.starts_with("WITH RECURSIVE typeinfo_tree(")) return type_introspection();
  // A look is cheaper than tokens; most statements end here.
  bool any = false;
  for (std::string_view word : {"current_setting", "set_config", "version", "pg_backend_pid",
                                "pg_is_in_recovery", "pg_get_userbyid"}) {
    any = any || sql.find(word) != std::string_view::npos;
  }
  if (!any) return std::nullopt;
  return Rewriter(sql, settings, process).run();
}

}  // namespace millrace::pgwire::detail

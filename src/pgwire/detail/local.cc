#include "pgwire/detail/local.h"

#include <fmt/format.h>

#include <charconv>

#include "pgwire/detail/lexer.h"
#include "pgwire/detail/settings.h"

namespace millrace::pgwire::detail {
namespace {

using Kind = Token::Kind;
using Classified = Result<std::optional<Local>>;

Classified not_ours() { return std::optional<Local>(); }
Classified ours(Local local) { return std::optional<Local>(std::move(local)); }

Error syntax_error(const Token& token) {
  return Error{ErrorCode::kSyntax,
               token.kind == Kind::kEnd ? std::string("syntax error at end of input")
                                        : fmt::format("syntax error at or near \"{}\"", token.text),
               token.begin};
}

bool is_name(const Token& token) {
  return token.kind == Kind::kWord || token.kind == Kind::kQuoted;
}

/// SET: the value may be a list, a string, words or numbers.
std::string setting_value(Lexer& lexer) {
  std::string value;
  while (!lexer.at_end()) {
    Token token = lexer.take();
    bool glue = value.empty() || value.ends_with('-') || token.is_symbol(',');
    if (!glue) value += ' ';
    value += token.text;
  }
  return value;
}

Classified set_statement(Lexer& lexer) {
  bool session = lexer.take_word("session");
  if (!session) lexer.take_word("local");
  if (session && lexer.take_word("characteristics")) return ours(Tagged{"SET"});
  if (lexer.take_word("transaction")) return ours(Tagged{"SET"});
  if (lexer.take_word("names")) {
    return ours(SetSetting{"client_encoding", setting_value(lexer), false});
  }
  if (lexer.take_word("time")) {
    if (!lexer.take_word("zone")) return syntax_error(lexer.peek());
    return ours(SetSetting{"timezone", setting_value(lexer), false});
  }
  std::string name = lexer.take().text;
  if (!Settings::knows(name)) return not_ours();
  if (!lexer.take_symbol('=') && !lexer.take_word("to")) return syntax_error(lexer.peek());
  if (lexer.peek().is("default")) return ours(SetSetting{name, "", true});
  return ours(SetSetting{name, setting_value(lexer), false});
}

Classified show_statement(Lexer& lexer) {
  if (lexer.take_word("transaction")) {
    if (!lexer.take_word("isolation")) return not_ours();
    return ours(ShowSetting{"transaction_isolation"});
  }
  if (lexer.take_word("time")) return ours(ShowSetting{"TimeZone"});
  Token name = lexer.take();
  if (!Settings::knows(name.text) || !lexer.at_end()) return not_ours();
  std::string_view reported = Settings::reported_as(name.text);
  return ours(ShowSetting{reported.empty() ? name.text : std::string(reported)});
}

Classified reset_statement(Lexer& lexer) {
  if (lexer.take_word("all")) return ours(ResetAll{});
  std::string name = lexer.take().text;
  if (!Settings::knows(name)) return not_ours();
  return ours(SetSetting{name, "", true});
}

Classified deallocate_statement(Lexer& lexer) {
  lexer.take_word("prepare");
  if (lexer.take_word("all")) return ours(Deallocate{});
  return ours(Deallocate{lexer.take().text});
}

Classified declare_statement(Lexer& lexer) {
  DeclareCursor cursor;
  cursor.name = lexer.take().text;
  while (!lexer.peek().is("for")) {
    if (lexer.at_end()) return syntax_error(lexer.peek());
    if (lexer.take_word("scroll")) {
      return Error{ErrorCode::kNotSupported, "cursors only move forward; declare without SCROLL"};
    }
    if (lexer.take_word("no")) {
      lexer.take_word("scroll");
      continue;
    }
    bool without = lexer.take_word("without");
    if (lexer.take_word("hold")) {
      cursor.hold = !without;
    } else if (!without) {
      lexer.take();
    }
  }
  lexer.take();
  cursor.query = lexer.peek().begin;
  return ours(std::move(cursor));
}

/// "1s", "500 ms", "1.5 seconds": a time of at most an hour.
std::optional<std::chrono::milliseconds> read_time(std::string_view text) {
  double amount = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), amount);
  if (failed != std::errc()) return std::nullopt;
  std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  unit.remove_prefix(std::min(unit.find_first_not_of(' '), unit.size()));
  double factor = 0;
  if (unit == "ms" || unit == "millisecond" || unit == "milliseconds") factor = 1;
  if (unit == "s" || unit == "second" || unit == "seconds") factor = 1000;
  if (unit == "min" || unit == "minute" || unit == "minutes") factor = 60'000;
  const double time = amount * factor;
  if (factor == 0 || !(time >= 0 && time <= 3'600'000)) return std::nullopt;
  return std::chrono::milliseconds(static_cast<int64_t>(time));
}

/// WITH (timeout = '1s')
Result<> fetch_options(Lexer& lexer, FetchCursor& fetch) {
  if (!lexer.take_symbol('(')) return syntax_error(lexer.peek());
  if (!lexer.take_word("timeout")) return syntax_error(lexer.peek());
  lexer.take_symbol('=');
  Token time = lexer.take();
  fetch.timeout = time.kind == Kind::kString ? read_time(time.text) : std::nullopt;
  if (!fetch.timeout) {
    return Error{ErrorCode::kSyntax, "timeout is a time of at most an hour, as '1s' or '500ms'",
                 time.begin};
  }
  if (!lexer.take_symbol(')')) return syntax_error(lexer.peek());
  return {};
}

/// FETCH | MOVE [NEXT | [FORWARD] n | [FORWARD] ALL] [FROM | IN] name [WITH (timeout = time)]
Classified fetch_statement(Lexer& lexer, bool move) {
  FetchCursor fetch;
  fetch.move = move;
  Token first = lexer.peek();
  if (first.is("backward") || first.is("prior") || first.is("first") || first.is("last") ||
      first.is("absolute") || first.is("relative") || first.is_symbol('-')) {
    return Error{ErrorCode::kNotSupported, "cursors only move forward", first.begin};
  }
  if (!lexer.take_word("next")) {
    lexer.take_word("forward");
    if (lexer.take_word("all")) {
      fetch.count = UINT64_MAX;
    } else if (lexer.peek().kind == Kind::kNumber) {
      Token number = lexer.take();
      auto end = number.text.data() + number.text.size();
      if (std::from_chars(number.text.data(), end, fetch.count).ptr != end) {
        return syntax_error(number);
      }
    }
  }
  if (!lexer.take_word("from")) lexer.take_word("in");
  if (!is_name(lexer.peek())) return syntax_error(lexer.peek());
  fetch.name = lexer.take().text;
  if (lexer.take_word("with")) MR_TRY(fetch_options(lexer, fetch));
  if (!lexer.at_end()) return syntax_error(lexer.peek());
  return ours(std::move(fetch));
}

Classified close_statement(Lexer& lexer) {
  if (lexer.take_word("all")) return ours(CloseCursor{});
  return ours(CloseCursor{lexer.take().text});
}

Classified transaction_statement(Lexer& lexer, const Token& verb) {
  if (verb.is("start") && !lexer.take_word("transaction")) return syntax_error(lexer.peek());
  if (verb.is("begin") || verb.is("start")) return ours(Transaction::kBegin);
  if (!lexer.take_word("work")) lexer.take_word("transaction");
  if (!lexer.at_end())
    return not_ours();  // ROLLBACK TO SAVEPOINT, COMMIT PREPARED: the engine says
  bool commit = verb.is("commit") || verb.is("end");
  return ours(commit ? Transaction::kCommit : Transaction::kRollback);
}

/// asyncpg sends it when a connection goes back to its pool; there are no advisory locks here.
Classified select_statement(Lexer& lexer) {
  if (!lexer.take_word("pg_advisory_unlock_all") || !lexer.take_symbol('(') ||
      !lexer.take_symbol(')') || !lexer.at_end()) {
    return not_ours();
  }
  return ours(ShowSetting{"pg_advisory_unlock_all"});
}

// ---- COPY

Result<> copy_flag(Lexer& lexer, bool& flag) {
  flag = true;
  const Token& token = lexer.peek();
  if (token.is("true") || token.is("on") || token.text == "1") {
    lexer.take();
  } else if (token.is("false") || token.is("off") || token.text == "0") {
    lexer.take();
    flag = false;
  }
  return {};
}

Result<> copy_char(Lexer& lexer, char& into) {
  lexer.take_word("as");
  Token token = lexer.take();
  if (token.kind != Kind::kString || token.text.size() != 1) return syntax_error(token);
  into = token.text[0];
  return {};
}

struct CopyDefaults {
  bool delimiter = false, null = false;  // given by the client
};

Result<> copy_option(Lexer& lexer, CopyOptions& options, CopyDefaults& given) {
  Token token = lexer.take();
  if (token.is("format")) {
    token = lexer.take();
  }
  if (token.text == "text" || token.text == "csv" || token.text == "binary") {
    options.format = token.text == "csv"    ? CopyFormat::kCsv
                     : token.text == "text" ? CopyFormat::kText
                                            : CopyFormat::kBinary;
    return {};
  }
  if (token.is("header")) return copy_flag(lexer, options.header);
  if (token.is("delimiter")) {
    given.delimiter = true;
    return copy_char(lexer, options.delimiter);
  }
  if (token.is("quote")) return copy_char(lexer, options.quote);
  if (token.is("escape")) return copy_char(lexer, options.escape);
  if (token.is("null")) {
    lexer.take_word("as");
    given.null = true;
    options.null = lexer.take().text;
    return {};
  }
  if (token.is("encoding")) {
    lexer.take();
    return {};
  }
  return Error{ErrorCode::kNotSupported,
               fmt::format("COPY does not know the option {}", token.text), token.begin};
}

Result<CopyOptions> copy_options(Lexer& lexer) {
  CopyOptions options;
  CopyDefaults given;
  lexer.take_word("with");
  bool parentheses = lexer.take_symbol('(');
  while (!lexer.at_end() && !lexer.take_symbol(')')) {
    MR_TRY(copy_option(lexer, options, given));
    if (parentheses) lexer.take_symbol(',');
  }
  if (!lexer.at_end()) return syntax_error(lexer.peek());
  if (options.format == CopyFormat::kCsv) {
    if (!given.delimiter) options.delimiter = ',';
    if (!given.null) options.null = "";
  }
  return options;
}

/// Moves past "( … )", whose first token was taken, to the closing one; gives where that begins.
std::optional<size_t> closing(Lexer& lexer) {
  int depth = 1;
  while (lexer.peek().kind != Kind::kEnd) {
    Token token = lexer.take();
    if (token.is_symbol('(')) depth++;
    if (token.is_symbol(')') && --depth == 0) return token.begin;
  }
  return std::nullopt;
}

Classified copy_query(Lexer& lexer) {
  CopyToStdout copy;
  size_t begin = lexer.peek().begin;
  auto end = closing(lexer);
  if (!end) return syntax_error(lexer.peek());
  if (!lexer.take_word("to") || !lexer.take_word("stdout")) return not_ours();
  copy.query = lexer.sql().substr(begin, *end - begin);
  copy.query_at = begin;
  MR_TRY(copy.options, copy_options(lexer));
  return ours(std::move(copy));
}

std::string quoted_name(std::string_view name) {
  std::string result = "\"";
  for (char c : name) result += c == '"' ? std::string("\"\"") : std::string(1, c);
  return result + '"';
}

Classified copy_statement(Lexer& lexer) {
  if (lexer.take_symbol('(')) return copy_query(lexer);
  CopyFromStdin from;
  std::string table, columns;
  if (!is_name(lexer.peek())) return not_ours();
  do {
    if (!table.empty()) table += '.';
    from.table = lexer.take().text;  // the last part; schema and database are always ours
    table += quoted_name(from.table);
  } while (lexer.take_symbol('.'));
  if (lexer.take_symbol('(')) {
    while (!lexer.take_symbol(')')) {
      if (!is_name(lexer.peek())) return syntax_error(lexer.peek());
      from.columns.push_back(lexer.take().text);
      columns += (columns.empty() ? "" : ", ") + quoted_name(from.columns.back());
      lexer.take_symbol(',');
    }
  }
  if (lexer.take_word("from")) {
    if (!lexer.take_word("stdin")) return not_ours();
    MR_TRY(from.options, copy_options(lexer));
    return ours(std::move(from));
  }
  if (!lexer.take_word("to") || !lexer.take_word("stdout")) return not_ours();
  CopyToStdout to;
  to.query = fmt::format("SELECT {} FROM {}", columns.empty() ? "*" : columns, table);
  MR_TRY(to.options, copy_options(lexer));
  return ours(std::move(to));
}

}  // namespace

Classified classify(std::string_view sql) {
  Lexer lexer(sql);
  Token verb = lexer.take();
  if (verb.kind != Kind::kWord) return not_ours();
  if (verb.is("select")) return select_statement(lexer);
  if (verb.is("set")) return set_statement(lexer);
  if (verb.is("show")) return show_statement(lexer);
  if (verb.is("reset")) return reset_statement(lexer);
  if (verb.is("discard")) return ours(DiscardAll{});
  if (verb.is("deallocate")) return deallocate_statement(lexer);
  if (verb.is("declare")) return declare_statement(lexer);
  if (verb.is("fetch")) return fetch_statement(lexer, false);
  if (verb.is("move")) return fetch_statement(lexer, true);
  if (verb.is("close")) return close_statement(lexer);
  if (verb.is("listen")) return ours(Tagged{"LISTEN"});
  if (verb.is("unlisten")) return ours(Tagged{"UNLISTEN"});
  if (verb.is("copy")) return copy_statement(lexer);
  if (verb.is("begin") || verb.is("start") || verb.is("commit") || verb.is("end") ||
      verb.is("rollback") || verb.is("abort")) {
    return transaction_statement(lexer, verb);
  }
  return not_ours();
}

}  // namespace millrace::pgwire::detail

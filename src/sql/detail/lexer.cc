#include "sql/detail/lexer.h"

#include <fmt/format.h>

#include <duckdb/parser/keyword_helper.hpp>

namespace millrace::sql {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool starts_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool in_word(char c) { return starts_word(c) || is_digit(c) || c == '$'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

class Tokenizer {
 public:
  explicit Tokenizer(std::string_view sql) : sql_(sql) {}

  Result<Token> next() {
    MR_TRY(skip());
    Token token;
    token.begin = token.end = at_;
    if (at_ >= sql_.size()) return token;
    const char c = sql_[at_];
    if (c == '\'') {
      MR_TRY(quoted_text(token, '\'', Token::Kind::kString, false));
    } else if ((c == 'e' || c == 'E') && peek(1) == '\'') {
      ++at_;
      MR_TRY(quoted_text(token, '\'', Token::Kind::kString, true));
    } else if (c == '"') {
      MR_TRY(quoted_text(token, '"', Token::Kind::kQuoted, false));
    } else if (c == '$' && dollar_tag()) {
      MR_TRY(dollar_quoted(token));
    } else if (is_digit(c) || (c == '.' && is_digit(peek(1)))) {
      token.kind = Token::Kind::kNumber;
      while (at_ < sql_.size() && (in_word(sql_[at_]) || sql_[at_] == '.')) ++at_;
      token.text = sql_.substr(token.begin, at_ - token.begin);
    } else if (starts_word(c)) {
      token.kind = Token::Kind::kWord;
      while (at_ < sql_.size() && in_word(sql_[at_])) ++at_;
      token.text = sql_.substr(token.begin, at_ - token.begin);
    } else {
      token.kind = Token::Kind::kSymbol;
      token.text = c;
      ++at_;
    }
    token.end = at_;
    return token;
  }

 private:
  char peek(size_t n) const { return at_ + n < sql_.size() ? sql_[at_ + n] : '\0'; }

  static Error unterminated(std::string_view what, size_t begin) {
    return Error{ErrorCode::kSyntax, fmt::format("unterminated {}", what), begin};
  }

  Result<> skip() {
    while (at_ < sql_.size()) {
      if (is_space(sql_[at_])) {
        ++at_;
      } else if (sql_[at_] == '-' && peek(1) == '-') {
        while (at_ < sql_.size() && sql_[at_] != '\n') ++at_;
      } else if (sql_[at_] == '/' && peek(1) == '*') {
        MR_TRY(skip_comment());
      } else {
        break;
      }
    }
    return {};
  }

  Result<> skip_comment() {
    const auto begin = at_;
    int depth = 0;
    do {
      if (at_ >= sql_.size()) return unterminated("comment", begin);
      if (sql_[at_] == '/' && peek(1) == '*') {
        ++depth;
        at_ += 2;
      } else if (sql_[at_] == '*' && peek(1) == '/') {
        --depth;
        at_ += 2;
      } else {
        ++at_;
      }
    } while (depth > 0);
    return {};
  }

  Result<> quoted_text(Token& token, char quote, Token::Kind kind, bool escapes) {
    token.kind = kind;
    for (++at_; at_ < sql_.size(); ++at_) {
      if (escapes && sql_[at_] == '\\' && at_ + 1 < sql_.size()) {
        token.text += sql_[++at_];
      } else if (sql_[at_] != quote) {
        token.text += sql_[at_];
      } else if (peek(1) == quote) {
        token.text += quote;
        ++at_;
      } else {
        ++at_;
        return {};
      }
    }
    return unterminated(quote == '"' ? "quoted identifier" : "string", token.begin);
  }

  /// The length of the $tag$ that begins here; 0 when none does ($1 is a parameter).
  size_t dollar_tag() const {
    size_t end = at_ + 1;
    while (end < sql_.size() && sql_[end] != '$' && in_word(sql_[end])) ++end;
    if (end >= sql_.size() || sql_[end] != '$' || is_digit(peek(1))) return 0;
    return end + 1 - at_;
  }

  Result<> dollar_quoted(Token& token) {
    token.kind = Token::Kind::kString;
    const auto tag = sql_.substr(at_, dollar_tag());
    const auto close = sql_.find(tag, at_ + tag.size());
    if (close == std::string_view::npos) return unterminated("dollar-quoted string", token.begin);
    token.text = sql_.substr(at_ + tag.size(), close - at_ - tag.size());
    at_ = close + tag.size();
    return {};
  }

  std::string_view sql_;
  size_t at_ = 0;
};

}  // namespace

bool Token::is(std::string_view word) const {
  if (kind != Kind::kWord || text.size() != word.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (lower(text[i]) != word[i]) return false;
  }
  return true;
}

Result<std::vector<Token>> tokenize(std::string_view sql) {
  std::vector<Token> tokens;
  Tokenizer tokenizer(sql);
  do {
    MR_TRY(auto token, tokenizer.next());
    tokens.push_back(std::move(token));
  } while (tokens.back().kind != Token::Kind::kEnd);
  return tokens;
}

Result<std::vector<std::string>> split_statements(std::string_view script) {
  MR_TRY(auto tokens, tokenize(script));
  std::vector<std::string> statements;
  std::optional<size_t> begin;
  size_t end = 0;
  for (const auto& token : tokens) {
    const bool ends = token.kind == Token::Kind::kEnd || token.is_symbol(';');
    if (!ends) {
      if (!begin) begin = token.begin;
      end = token.end;
    } else if (begin) {
      statements.emplace_back(script.substr(*begin, end - *begin));
      begin.reset();
    }
  }
  return statements;
}

std::string quoted(std::string_view name) {
  return duckdb::KeywordHelper::WriteOptionallyQuoted(std::string(name));
}

std::string literal(std::string_view text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'') result += '\'';
    result += c;
  }
  return result + "'";
}

}  // namespace millrace::sql

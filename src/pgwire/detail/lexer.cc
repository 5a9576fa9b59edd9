#include "pgwire/detail/lexer.h"

#include <algorithm>
#include <utility>

namespace millrace::pgwire::detail {
namespace {

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80);
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

}  // namespace

Token Lexer::take() {
  Token token = std::move(token_);
  advance();
  return token;
}

bool Lexer::take_word(std::string_view word) {
  if (!token_.is(word)) return false;
  advance();
  return true;
}

bool Lexer::take_symbol(char c) {
  if (!token_.is_symbol(c)) return false;
  advance();
  return true;
}

bool Lexer::at_end() {
  while (take_symbol(';')) {
  }
  return token_.kind == Token::Kind::kEnd;
}

void Lexer::skip_blanks() {
  while (at_ < sql_.size()) {
    if (is_blank(sql_[at_])) {
      at_++;
    } else if (sql_.substr(at_).starts_with("--")) {
      at_ = std::min(sql_.find('\n', at_), sql_.size());
    } else if (sql_.substr(at_).starts_with("/*")) {
      size_t end = sql_.find("*/", at_ + 2);
      at_ = end == std::string_view::npos ? sql_.size() : end + 2;
    } else {
      return;
    }
  }
}

void Lexer::quoted(char quote) {
  at_++;
  while (at_ < sql_.size()) {
    if (sql_[at_] == quote) {
      if (at_ + 1 >= sql_.size() || sql_[at_ + 1] != quote) break;
      at_++;  // doubled: one of it
    }
    token_.text += sql_[at_++];
  }
  if (at_ < sql_.size()) at_++;
}

void Lexer::advance() {
  skip_blanks();
  token_ = Token{};
  token_.begin = at_;
  if (at_ < sql_.size()) {
    char c = sql_[at_];
    if (c == '\'' || c == '"') {
      token_.kind = c == '"' ? Token::Kind::kQuoted : Token::Kind::kString;
      quoted(c);
    } else if ((c == 'e' || c == 'E') && at_ + 1 < sql_.size() && sql_[at_ + 1] == '\'') {
      token_.kind = Token::Kind::kString;
      at_++;
      quoted('\'');
      if (token_.text == "\\t") token_.text = "\t";
    } else if (is_word(c)) {
      token_.kind = Token::Kind::kWord;
      while (at_ < sql_.size() && (is_word(sql_[at_]) || is_digit(sql_[at_]) || sql_[at_] == '$')) {
        char letter = sql_[at_++];
        token_.text += letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter;
      }
    } else if (is_digit(c)) {
      token_.kind = Token::Kind::kNumber;
      while (at_ < sql_.size() && (is_digit(sql_[at_]) || sql_[at_] == '.')) {
        token_.text += sql_[at_++];
      }
    } else {
      token_.kind = Token::Kind::kSymbol;
      token_.text = sql_[at_++];
    }
  }
  token_.end = at_;
}

}  // namespace millrace::pgwire::detail

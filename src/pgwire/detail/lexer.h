#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace millrace::pgwire::detail {

struct Token {
  enum class Kind { kWord, kQuoted, kString, kNumber, kSymbol, kEnd };
  Kind kind = Kind::kEnd;
  std::string text;  // words in lower case; quotes taken off
  size_t begin = 0, end = 0;
  bool is(std::string_view word) const { return kind == Kind::kWord && text == word; }
  bool is_symbol(char c) const { return kind == Kind::kSymbol && text[0] == c; }
};

/// Cuts SQL into tokens, as far as the wire's own statements need it. White space and comments go.
class Lexer {
 public:
  explicit Lexer(std::string_view sql) : sql_(sql) { advance(); }
  const Token& peek() const { return token_; }
  Token take();
  /// Takes the token if it is this word.
  bool take_word(std::string_view word);
  bool take_symbol(char c);
  /// Nothing is left but semicolons.
  bool at_end();
  std::string_view sql() const { return sql_; }

 private:
  void advance();
  void skip_blanks();
  void quoted(char quote);

  std::string_view sql_;
  size_t at_ = 0;
  Token token_;
};

}  // namespace millrace::pgwire::detail

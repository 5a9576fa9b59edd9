#pragma once

#include <fmt/format.h>

#include <string_view>
#include <vector>

#include "sql/detail/lexer.h"

namespace millrace::sql {

/// Walks over tokens; at the end it stays on the last, kEnd.
class TokenReader {
 public:
  explicit TokenReader(const std::vector<Token>& tokens) : tokens_(tokens) {}

  const Token& peek(size_t n = 0) const { return tokens_[std::min(at_ + n, tokens_.size() - 1)]; }
  const Token& take() {
    const auto& token = peek();
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  bool take_word(std::string_view word) {
    if (!peek().is(word)) return false;
    take();
    return true;
  }
  /// All of the words, or none.
  bool take_words(std::initializer_list<std::string_view> words) {
    size_t n = 0;
    for (const auto word : words) {
      if (!peek(n++).is(word)) return false;
    }
    at_ += words.size();
    return true;
  }
  bool take_symbol(char c) {
    if (!peek().is_symbol(c)) return false;
    take();
    return true;
  }
  bool at_end() const {
    return peek().kind == Token::Kind::kEnd ||
           (peek().is_symbol(';') && peek(1).kind == Token::Kind::kEnd);
  }

  Error unexpected(std::string hint = {}) const {
    const auto& token = peek();
    return Error{ErrorCode::kSyntax,
                 token.kind == Token::Kind::kEnd
                     ? std::string("syntax error at end of input")
                     : fmt::format("syntax error at or near \"{}\"", token.text),
                 token.begin, std::move(hint)};
  }
  Result<> expect_symbol(char c) {
    if (take_symbol(c)) return {};
    return unexpected(fmt::format("expected \"{}\"", c));
  }
  Result<> expect_end() const {
    if (at_end()) return {};
    return unexpected();
  }
  /// A name, after `millrace.` and `public.` if they stand before it.
  Result<Token> name() {
    if (!peek().is_name()) return unexpected("expected a name");
    Token token = take();
    while (peek().is_symbol('.') && peek(1).is_name()) {
      if (token.text != "public" && token.text != "millrace") {
        return Error{ErrorCode::kUndefinedObject,
                     fmt::format("schema \"{}\" does not exist", token.text), token.begin,
                     "All objects live in the schema \"public\"."};
      }
      take();
      token = take();
    }
    return token;
  }

 private:
  const std::vector<Token>& tokens_;
  size_t at_ = 0;
};

}  // namespace millrace::sql

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sql/script.h"

namespace millrace::sql {

/// One word of SQL, with where it stands in the text.
struct Token {
  enum class Kind { kWord, kQuoted, kString, kNumber, kSymbol, kEnd };
  Kind kind = Kind::kEnd;
  std::string text;  // quotes taken away; a word as written
  size_t begin = 0;
  size_t end = 0;  // one past its last byte

  /// A bare word, in any case. `word` is lower case.
  bool is(std::string_view word) const;
  bool is_symbol(char c) const { return kind == Kind::kSymbol && text.size() == 1 && text[0] == c; }
  bool is_name() const { return kind == Kind::kWord || kind == Kind::kQuoted; }
};

/// Cuts SQL into tokens: strings ('', E'', $tag$ $tag$), quoted identifiers, numbers, comments (--
/// and nested /* */) passed over. Symbols are single characters. Ends with one kEnd.
/// Errors: kSyntax (a string, identifier or comment without end).
Result<std::vector<Token>> tokenize(std::string_view sql);

/// `name` as SQL writes it: quoted where it must be.
std::string quoted(std::string_view name);
/// `text` as a string literal.
std::string literal(std::string_view text);

}  // namespace millrace::sql

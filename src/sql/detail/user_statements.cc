#include "sql/detail/user_statements.h"

namespace millrace::sql {

Result<PutUser> parse_user(TokenReader& reader, bool create) {
  PutUser put;
  put.create = create;
  MR_TRY(auto name, reader.name());
  put.name = std::move(name.text);
  put.name_begin = name.begin;
  reader.take_word("with");
  if (!reader.take_word("password")) return reader.unexpected("expected PASSWORD '...'");
  const auto& password = reader.peek();
  if (password.kind != Token::Kind::kString) {
    return Error{ErrorCode::kSyntax, "the password is not in quotes", password.begin,
                 "PASSWORD '...'"};
  }
  put.password_begin = password.begin;
  put.password = reader.take().text;
  if (!reader.at_end()) {
    return Error{ErrorCode::kSyntax, "something stands behind the password", reader.peek().begin,
                 "A quote in it is written twice."};
  }
  return put;
}

}  // namespace millrace::sql

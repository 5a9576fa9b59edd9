#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/check.h"

namespace millrace {

/// What went wrong, as one word. The list, with what each wire says for it, is errors.def.
enum class ErrorCode {
#define MR_ERROR(name, ...) name,
#include "base/errors.def"
#undef MR_ERROR
};

/// What the wires say for a code; one row of errors.def.
struct ErrorInfo {
  std::string_view name;      // without the leading k: "DiskFull"
  int kafka;                  // Kafka protocol error code; -1 is UNKNOWN_SERVER_ERROR
  std::string_view sqlstate;  // five characters
  int http;
  bool retriable;
  std::string_view meaning;
};
const ErrorInfo& info(ErrorCode code);

/// A failure, told to the person who reads it: `text` says what failed, on which thing, and what to
/// do.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string text;
  std::optional<size_t> position = std::nullopt;  // byte offset into the SQL statement at fault
  std::string hint = {};
};

/// A `T` or an `Error`. The interface is std::expected's; ours because it is [[nodiscard]].
template <typename T = void>
class [[nodiscard]] Result {
  using Stored = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

 public:
  using value_type = T;

  Result()
    requires std::is_void_v<T>
      : state_(std::in_place_index<0>) {}
  template <typename U = Stored>
    requires(!std::is_void_v<T> && std::is_constructible_v<Stored, U &&> &&
             !std::is_same_v<std::remove_cvref_t<U>, Result> &&
             !std::is_same_v<std::remove_cvref_t<U>, Error>)
  Result(U&& value) : state_(std::in_place_index<0>, std::forward<U>(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  Stored& value() & { return check(), *std::get_if<0>(&state_); }
  const Stored& value() const& { return check(), *std::get_if<0>(&state_); }
  Stored&& value() && { return check(), std::move(*std::get_if<0>(&state_)); }
  Stored& operator*() & { return value(); }
  const Stored& operator*() const& { return value(); }
  Stored&& operator*() && { return std::move(*this).value(); }
  Stored* operator->() { return &value(); }
  const Stored* operator->() const { return &value(); }

  Error& error() & { return MR_CHECK(!has_value()), *std::get_if<1>(&state_); }
  const Error& error() const& { return MR_CHECK(!has_value()), *std::get_if<1>(&state_); }
  Error&& error() && { return MR_CHECK(!has_value()), std::move(*std::get_if<1>(&state_)); }

  template <typename U>
  Stored value_or(U&& other) && {
    return has_value() ? std::move(**this) : static_cast<Stored>(std::forward<U>(other));
  }

 private:
  void check() const { MR_CHECK(has_value()); }

  std::variant<Stored, Error> state_;
};

#define MR_CONCAT_INNER(a, b) a##b
#define MR_CONCAT(a, b) MR_CONCAT_INNER(a, b)
// MR_TRY(f()) or MR_TRY(auto x, f()): a statement that returns the error, or goes on with the
// value. An expression with a comma outside parentheses goes into parentheses.
#define MR_PICK(_1, _2, name, ...) name
#define MR_TRY1(ret, expr)              \
  do {                                  \
    auto mr_result = (expr);            \
    if (!mr_result) [[unlikely]]        \
      ret std::move(mr_result).error(); \
  } while (false)
#define MR_TRY2(ret, id, decl, expr) \
  auto id = (expr);                  \
  if (!id) [[unlikely]]              \
    ret std::move(id).error();       \
  decl = std::move(id).value()
#define MR_TRY_RET1(expr) MR_TRY1(return, expr)
#define MR_TRY_RET2(decl, expr) MR_TRY2(return, MR_CONCAT(mr_result_, __LINE__), decl, expr)
#define MR_TRY_CO1(expr) MR_TRY1(co_return, expr)
#define MR_TRY_CO2(decl, expr) MR_TRY2(co_return, MR_CONCAT(mr_result_, __LINE__), decl, expr)
#define MR_TRY(...) MR_PICK(__VA_ARGS__, MR_TRY_RET2, MR_TRY_RET1)(__VA_ARGS__)
#define MR_CO_TRY(...) MR_PICK(__VA_ARGS__, MR_TRY_CO2, MR_TRY_CO1)(__VA_ARGS__)

}  // namespace millrace

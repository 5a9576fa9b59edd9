#pragma once

#include <duckdb.hpp>

#include <exception>

#include "base/result.h"

namespace millrace::sql {

/// Carries one of our errors through DuckDB: thrown by our callbacks, found again by to_error().
class CarriedError : public duckdb::Exception {
 public:
  /// `type` says whose fault it was to who catches it: a row's, or, as OUT_OF_MEMORY, none.
  explicit CarriedError(const Error& error,
                        duckdb::ExceptionType type = duckdb::ExceptionType::INVALID_INPUT);
};

/// DuckDB's error as ours: code by exception type, byte position, and the hint that its text holds.
Error to_error(const duckdb::ErrorData& data);
Error to_error(const std::exception& exception);

/// Calls `f`, which may throw as DuckDB does; gives its value (a Result stays one) or the error.
template <typename F>
auto guarded(F&& f) {
  using T = std::invoke_result_t<F>;
  constexpr bool kIsResult = requires(T t) {
    t.error();
    t.has_value();
  };
  using R = std::conditional_t<kIsResult, T, Result<T>>;
  try {
    if constexpr (std::is_void_v<T>) {
      f();
      return R{};
    } else {
      return R(f());
    }
  } catch (const std::exception& exception) {
    return R(to_error(exception));
  }
}

}  // namespace millrace::sql

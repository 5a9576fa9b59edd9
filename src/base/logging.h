#pragma once

#include <fmt/format.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

namespace millrace::logging {

enum class Level { kDebug, kInfo, kWarn, kError };
enum class Format { kText, kJson };

/// One `key=value` of a log line.
struct Field {
  std::string_view key;
  std::string value;
  bool literal;  // a number or a truth value: JSON needs no quotes
  template <typename T>
  Field(std::string_view k, const T& v)
      : key(k),
        value(fmt::format("{}", v)),
        literal(std::is_arithmetic_v<T> && !std::is_same_v<T, char>) {}
};

/// Where lines go (standard error) and which; once, at start.
void configure(Level level, Format format);
bool enabled(Level level);

/// One line: time (UTC), level, `what`, then the fields. `what` is constant text; what varies goes
/// into fields, which may hold bytes from outside: they are escaped. Any thread.
///   text: 2026-11-21T06:40:00.123Z info  node ready kafka=127.0.0.1:9092 data="/my data"
///   JSON: {"time":"2026-11-21T06:40:00.123Z","level":"info","what":"node ready","kafka":"…"}
void write(Level level, std::string_view what, std::initializer_list<Field> fields = {});

inline void debug(std::string_view what, std::initializer_list<Field> f = {}) {
  write(Level::kDebug, what, f);
}
inline void info(std::string_view what, std::initializer_list<Field> f = {}) {
  write(Level::kInfo, what, f);
}
inline void warn(std::string_view what, std::initializer_list<Field> f = {}) {
  write(Level::kWarn, what, f);
}
inline void error(std::string_view what, std::initializer_list<Field> f = {}) {
  write(Level::kError, what, f);
}

}  // namespace millrace::logging

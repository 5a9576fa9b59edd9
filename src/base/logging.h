#pragma once

#include <fmt/format.h>

#include <initializer_list>
#include <string>
#include <string_view>

namespace millrace::logging {

enum class Level { kDebug, kInfo, kWarn, kError };
enum class Format { kText, kJson };

/// One `key=value` of a log line.
struct Field {
  std::string_view key;
  std::string value;
  template <typename T>
  Field(std::string_view k, const T& v) : key(k), value(fmt::format("{}", v)) {}
};

/// Where lines go (standard error) and which; once, at start.
void configure(Level level, Format format);
bool enabled(Level level);

/// One line: time, level, `what`, then the fields. `what` is constant text; what varies goes into
/// fields. Any thread.
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

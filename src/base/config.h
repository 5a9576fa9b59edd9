#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace::config {

/// What an option's text must be.
enum class Type {
  kText,
  kAddress,   // host:port, [::1]:port; port 0 picks a free one
  kBytes,     // 1048576, 512MB (10^6), 2GiB or 2G (2^30), 1.5GiB
  kInteger,   // within the option's bounds
  kDuration,  // 250ms, 30s, 5m, 12h, 7d
  kBool,      // true or false, yes or no, on or off, 1 or 0
  kPath,
  kChoice,  // one of the option's choices
};

/// An option, declared once. Flag `--log-level`, environment MILLRACE_LOG_LEVEL, file `log-level =
/// …` (or log_level).
struct Option {
  std::string_view name;
  Type type;
  std::string_view default_value;  // empty: the option is not set unless someone sets it
  std::string_view help;
  std::vector<std::string_view> choices = {};
  int64_t min = std::numeric_limits<int64_t>::min();  // kInteger
  int64_t max = std::numeric_limits<int64_t>::max();
};

struct Address {
  std::string host;  // without brackets
  uint16_t port = 0;
  /// "127.0.0.1:9092", "[::1]:9092"
  std::string to_string() const;
  bool operator==(const Address&) const = default;
};

Result<Address> parse_address(std::string_view text);
Result<uint64_t> parse_bytes(std::string_view text);
Result<std::chrono::milliseconds> parse_duration(std::string_view text);
Result<bool> parse_bool(std::string_view text);
Result<int64_t> parse_integer(std::string_view text);

/// Where a value came from; a later one wins.
enum class Source { kDefault, kFile, kEnvironment, kFlag };

/// Where values are looked for.
struct Inputs {
  std::map<std::string, std::string> flags;  // by option name, without dashes before it
  std::string file = {};                     // path; empty: none
  /// Null when the variable is not set; by default the process's own environment.
  std::function<const char*(const char*)> environment = {};
};

/// The values of a set of options, all checked. Immutable.
class Config {
 public:
  /// Errors: kInvalidConfig names the option, its source, its value and what is allowed; kNotFound:
  /// no such file.
  static Result<Config> load(std::vector<Option> options, const Inputs& inputs);

  /// Of each the option must exist and have that type; what is not set is empty, 0 or false.
  const std::string& text(std::string_view name) const;  // any type, as written
  Address address(std::string_view name) const;
  uint64_t bytes(std::string_view name) const;
  int64_t integer(std::string_view name) const;
  std::chrono::milliseconds duration(std::string_view name) const;
  bool boolean(std::string_view name) const;
  Source source(std::string_view name) const;

 private:
  struct Value {
    Option option;
    std::string text;
    Source source = Source::kDefault;
    std::string origin = {};  // as a message names it: "--kafka", "MILLRACE_KAFKA", "a.conf:3"
  };

  Result<> set(std::string_view name, std::string value, Source source, std::string origin);
  Result<> read_environment(const Inputs& inputs);
  Result<> read_file(const std::string& path);
  Result<> read_line(std::string_view line, const std::string& origin);
  Value* find(std::string_view name);
  const Value& get(std::string_view name, Type type) const;
  std::string unknown(std::string_view name) const;

  std::vector<Value> values_;
};

}  // namespace millrace::config

#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace::pgwire::detail {

/// PostgreSQL's settings that clients set and ask for at the start. Those that would change what we
/// print accept the one value that we print. Other settings are the engine's.
class Settings {
 public:
  explicit Settings(std::string_view server_version, std::string_view user);

  static bool knows(std::string_view name);
  /// Whether the client is told of changes (ParameterStatus), under which spelling; empty: not.
  static std::string_view reported_as(std::string_view name);
  static const std::vector<std::string_view>& reported();

  /// Gives a warning for the client, or nothing. Errors: kInvalidArgument, kNotSupported.
  Result<std::string> set(std::string_view name, std::string_view value);
  /// As a startup message has it: what does not fit is ignored.
  void set_leniently(std::string_view name, std::string_view value);
  void reset(std::string_view name);
  void reset_all();
  const std::string& get(std::string_view name) const;

 private:
  std::map<std::string, std::string, std::less<>> defaults_, values_;
};

}  // namespace millrace::pgwire::detail

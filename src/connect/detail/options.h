#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace::connect {

/// The options of a connector, taken one by one; what is left at the end is unknown. Errors of all:
/// kInvalidConfig naming the option and what it may be; a secret's value is never told.
class Options {
 public:
  explicit Options(std::map<std::string, std::string> given) : given_(std::move(given)) {}

  std::optional<std::string> text(const std::string& name);
  Result<std::string> needed(const std::string& name, std::string_view example);
  Result<std::string> one_of(const std::string& name, std::string_view otherwise,
                             std::initializer_list<std::string_view> words);
  Result<int64_t> number(const std::string& name, int64_t otherwise, int64_t least, int64_t most);
  /// '500 ms', '10 seconds', '2 minutes', '1 hour', '1 day', or milliseconds.
  Result<std::chrono::milliseconds> interval(const std::string& name,
                                             std::chrono::milliseconds otherwise,
                                             std::chrono::milliseconds least);
  /// Those whose names begin so, without that beginning.
  std::map<std::string, std::string> with_prefix(std::string_view prefix);
  /// Errors: an option that nobody took.
  Result<> finish(std::string_view what) const;

 private:
  std::map<std::string, std::string> given_;
  std::set<std::string> known_;
};

/// Options of every connector: how it is started again.
struct Backoff {
  std::chrono::milliseconds first{200};
  std::chrono::milliseconds most{30'000};
  /// Errors: kInvalidConfig.
  static Result<Backoff> take(Options& options);
  /// How long to wait after `failures` in a row (from 1); `random` spreads connectors that failed
  /// together.
  std::chrono::milliseconds wait(uint64_t failures, uint64_t random) const;
};

}  // namespace millrace::connect

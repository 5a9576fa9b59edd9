#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "broker/broker.h"

namespace millrace::broker::detail {

/// What an option's value must be, beside its type.
struct OptionRule {
  ConfigOption option;
  int64_t min = 0;  // INT, LONG, DOUBLE
  int64_t max = 0;
  /// STRING, LIST, BOOLEAN; empty: any. One that ends in ':' is followed by any text.
  std::vector<std::string_view> choices = {};
};

/// The options of one kind of thing.
class OptionRules {
 public:
  /// `kind`: as errors name it, "topic" or "group".
  OptionRules(std::string_view kind, std::vector<OptionRule> rules);

  const std::vector<ConfigOption>& options() const { return options_; }
  /// Null when there is none.
  const OptionRule* find(std::string_view name) const;
  /// Errors: kInvalidConfig, with what is allowed, or the name that was perhaps meant.
  Result<> check_name(std::string_view name) const;
  Result<> check(std::string_view name, std::string_view value) const;

 private:
  std::string_view kind_;
  std::vector<OptionRule> rules_;
  std::vector<ConfigOption> options_;
};

/// The words of a LIST.
std::vector<std::string_view> split_list(std::string_view list);
/// A number's text as check() has let it pass.
int64_t integer_of(std::string_view text);

}  // namespace millrace::broker::detail

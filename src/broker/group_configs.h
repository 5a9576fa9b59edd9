#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/broker.h"

namespace millrace::broker {

/// What a group (consumer or share) may be configured with. Names and defaults: Kafka's
/// GroupConfig.
const std::vector<ConfigOption>& group_options();

/// The options of groups (topic __group_configs); they may be set before the group exists, and stay
/// when it goes, as in Kafka (KIP-848, KIP-932).
class GroupConfigs {
 public:
  static io::Task<Result<std::unique_ptr<GroupConfigs>>> open(io::Runtime& runtime, io::Env& env,
                                                              Broker& broker);
  virtual ~GroupConfigs() = default;

  /// What is in force: the group's own, else the default. `name` must be one of group_options().
  /// Any thread.
  virtual std::string text(std::string_view group, std::string_view name) const = 0;
  virtual int64_t integer(std::string_view group, std::string_view name) const = 0;
  /// What the group itself has set. Any thread.
  virtual std::map<std::string, std::string> own(std::string_view group) const = 0;
  /// Groups that have set something. Any thread.
  virtual std::vector<std::string> groups() const = 0;

  /// Sets (or, nullopt, unsets) options of a group, durably. Any shard. Errors: kInvalidConfig
  /// (names the option and what is allowed), kInvalidGroup.
  virtual io::Task<Result<>> alter(std::string group,
                                   std::map<std::string, std::optional<std::string>> changes,
                                   bool validate_only) = 0;
};

}  // namespace millrace::broker

#pragma once

#include <string>
#include <vector>

#include "broker/broker.h"

namespace millrace::kafka {

// Where a configuration's value comes from. Source: DescribeConfigsResponse.ConfigSource.
inline constexpr int8_t kTopicSource = 1;
inline constexpr int8_t kStaticBrokerSource = 4;
inline constexpr int8_t kDefaultSource = 5;
inline constexpr int8_t kGroupSource = 8;

// Kinds of resource. Source: Kafka's ConfigResource.Type.
inline constexpr int8_t kTopicResource = 2;
inline constexpr int8_t kBrokerResource = 4;
inline constexpr int8_t kGroupResource = 32;

// What a change does. Source: Kafka's AlterConfigOp.OpType.
enum ConfigOperation : int8_t {
  kSetConfig = 0,
  kDeleteConfig = 1,
  kAppendConfig = 2,
  kSubtractConfig = 3
};
struct ConfigChange {
  std::string name;
  int8_t operation = kSetConfig;
  std::optional<std::string> value;
};

/// Applies `change` to `own`, the values that a resource has set itself; `in_force` holds those of
/// all `options`. Values are not checked. Errors: kInvalidConfig.
Result<> apply_change(const ConfigChange& change, const std::vector<broker::ConfigOption>& options,
                      const std::map<std::string, std::string>& in_force,
                      std::map<std::string, std::string>& own);

/// Sets the options of a topic or a group, for both ways of asking: with `replace`, what is not
/// among `changes` goes back to its default (AlterConfigs). Errors: kInvalidConfig,
/// kUndefinedObject, kInvalidArgument (a resource that has no options to set).
struct Context;
io::Task<Result<>> alter_configs_of(Context& context, int8_t resource_type, std::string resource,
                                    std::vector<ConfigChange> changes, bool replace,
                                    bool validate_only);

}  // namespace millrace::kafka

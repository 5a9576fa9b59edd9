#include "kafka/handlers/configs.h"

#include <fmt/ranges.h>

#include "broker/group_configs.h"
#include "kafka/detail/services.h"
#include "kafka/handlers/topic_description.h"

namespace millrace::kafka {

namespace {

using Values = std::map<std::string, std::string>;

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> parts;
  while (!list.empty()) {
    const auto comma = std::min(list.find(','), list.size());
    if (comma > 0) parts.emplace_back(list.substr(0, comma));
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return parts;
}

io::Task<Result<>> alter_topic(broker::Broker& broker, std::string name,
                               std::vector<ConfigChange> changes, bool replace,
                               bool validate_only) {
  const auto topic = broker.find(name);
  if (!topic) {
    co_return Error{ErrorCode::kUndefinedObject, fmt::format("there is no topic '{}'", name)};
  }
  if (auto refusal = refuse_unless_topic(*topic, "change")) co_return std::move(*refusal);
  catalog::Object object = topic->object;
  const auto in_force = broker::effective_options(object);
  if (replace) object.options.clear();
  for (const auto& change : changes) {
    MR_CO_TRY(apply_change(change, broker::topic_options(), in_force, object.options));
  }
  MR_CO_TRY(co_await broker.create(std::move(object), true, validate_only));
  co_return Result<>();
}

io::Task<Result<>> alter_group(broker::GroupConfigs& configs, std::string group,
                               std::vector<ConfigChange> changes, bool replace,
                               bool validate_only) {
  const Values before = configs.own(group);
  Values in_force;
  for (const auto& option : broker::group_options()) {
    in_force[std::string(option.name)] = configs.text(group, option.name);
  }
  Values after = replace ? Values() : before;
  std::map<std::string, std::optional<std::string>> difference;
  for (const auto& change : changes) {
    MR_CO_TRY(apply_change(change, broker::group_options(), in_force, after));
  }
  for (const auto& [name, value] : after) difference[name] = value;
  for (const auto& [name, value] : before) {
    if (!after.contains(name)) difference[name] = std::nullopt;
  }
  co_return co_await configs.alter(std::move(group), std::move(difference), validate_only);
}

}  // namespace

Result<> apply_change(const ConfigChange& change, const std::vector<broker::ConfigOption>& options,
                      const Values& in_force, Values& own) {
  const auto option = std::ranges::find(options, change.name, &broker::ConfigOption::name);
  if (option == options.end()) {
    return Error{ErrorCode::kInvalidConfig, fmt::format("there is no option '{}'", change.name)};
  }
  if (change.operation == kDeleteConfig) {
    own.erase(change.name);
    return {};
  }
  if (!change.value) {
    return Error{ErrorCode::kInvalidConfig, fmt::format("option '{}' has no value", change.name)};
  }
  if (change.operation == kSetConfig) {
    own[change.name] = *change.value;
    return {};
  }
  if (option->type != "LIST" ||
      (change.operation != kAppendConfig && change.operation != kSubtractConfig)) {
    return Error{ErrorCode::kInvalidConfig, fmt::format("option '{}' cannot be changed by "
                                                        "operation {}",
                                                        change.name, change.operation)};
  }
  auto list = split(own.contains(change.name) ? own[change.name] : in_force.at(change.name));
  for (const auto& part : split(*change.value)) {
    std::erase(list, part);
    if (change.operation == kAppendConfig) list.push_back(part);
  }
  own[change.name] = fmt::format("{}", fmt::join(list, ","));
  return {};
}

io::Task<Result<>> alter_configs_of(Context& context, int8_t resource_type, std::string resource,
                                    std::vector<ConfigChange> changes, bool replace,
                                    bool validate_only) {
  if (resource_type == kTopicResource) {
    co_return co_await alter_topic(context.broker(), std::move(resource), std::move(changes),
                                   replace, validate_only);
  }
  if (resource_type == kGroupResource) {
    co_return co_await alter_group(context.group_configs(), std::move(resource), std::move(changes),
                                   replace, validate_only);
  }
  co_return Error{ErrorCode::kInvalidArgument,
                  "topics and groups can be configured while the node runs; for the node see "
                  "millrace serve --help"};
}

}  // namespace millrace::kafka

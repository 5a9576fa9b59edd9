#include <fmt/ranges.h>

#include "kafka/detail/error_codes.h"
#include "kafka/handlers/handlers.h"
#include "kafka/handlers/topic_configs.h"
#include "kafka/handlers/topic_description.h"

namespace millrace::kafka {

namespace {

using Wanted = IncrementalAlterConfigsRequest::AlterConfigsResource;
using Answer = IncrementalAlterConfigsResponse::AlterConfigsResourceResponse;

// Source: Kafka's AlterConfigOp.OpType.
enum Operation : int8_t { kSet = 0, kDelete = 1, kAppend = 2, kSubtract = 3 };

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> parts;
  while (!list.empty()) {
    const auto comma = std::min(list.find(','), list.size());
    if (comma > 0) parts.emplace_back(list.substr(0, comma));
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return parts;
}

/// Applies one change to `object`'s options. Values are checked by the broker.
Result<> apply(const IncrementalAlterConfigsRequest::AlterableConfig& change,
               catalog::Object& object) {
  const auto& options = broker::topic_options();
  const auto option = std::ranges::find(options, change.name, &broker::TopicOption::name);
  if (option == options.end()) {
    return Error{ErrorCode::kInvalidConfig, fmt::format("topics have no option '{}'", change.name)};
  }
  if (change.config_operation == kDelete) {
    object.options.erase(change.name);
    return {};
  }
  if (!change.value) {
    return Error{ErrorCode::kInvalidConfig, fmt::format("option '{}' has no value", change.name)};
  }
  if (change.config_operation == kSet) {
    object.options[change.name] = *change.value;
    return {};
  }
  if (option->type != "LIST" ||
      (change.config_operation != kAppend && change.config_operation != kSubtract)) {
    return Error{ErrorCode::kInvalidConfig,
                 fmt::format("option '{}' cannot be changed by operation {}", change.name,
                             change.config_operation)};
  }
  auto list = split(broker::effective_options(object)[change.name]);
  for (const auto& part : split(*change.value)) {
    std::erase(list, part);
    if (change.config_operation == kAppend) list.push_back(part);
  }
  object.options[change.name] = fmt::format("{}", fmt::join(list, ","));
  return {};
}

io::Task<Result<>> alter_topic(broker::Broker& broker, Wanted wanted, bool validate_only) {
  const auto topic = broker.find(wanted.resource_name);
  if (!topic) {
    co_return Error{ErrorCode::kUndefinedObject,
                    fmt::format("there is no topic '{}'", wanted.resource_name)};
  }
  if (auto refusal = refuse_unless_topic(*topic, "change")) co_return std::move(*refusal);
  catalog::Object object = topic->object;
  for (const auto& change : wanted.configs) MR_CO_TRY(apply(change, object));
  MR_CO_TRY(co_await broker.create(std::move(object), true, validate_only));
  co_return Result<>();
}

}  // namespace

io::Task<IncrementalAlterConfigsResponse> incremental_alter_configs(
    Context& context, IncrementalAlterConfigsRequest request) {
  IncrementalAlterConfigsResponse response;
  for (auto& wanted : request.resources) {
    auto& answer = response.responses.emplace_back();
    answer.resource_type = wanted.resource_type;
    answer.resource_name = wanted.resource_name;
    answer.error_message = std::nullopt;
    if (wanted.resource_type != kTopicResource) {
      answer.error_code = wire::kInvalidRequest;
      answer.error_message = "only topics can be configured while the node runs";
      continue;
    }
    auto altered = co_await alter_topic(context.broker(), std::move(wanted), request.validate_only);
    if (!altered) {
      answer.error_code = wire_code(altered.error());
      answer.error_message = altered.error().text;
    }
  }
  co_return response;
}

}  // namespace millrace::kafka

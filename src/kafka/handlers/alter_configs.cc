#include "kafka/detail/error_codes.h"
#include "kafka/handlers/handlers.h"
#include "kafka/handlers/configs.h"

namespace millrace::kafka {

namespace {

template <typename Answer>
void say(const Result<>& altered, Answer& answer) {
  answer.error_message = std::nullopt;
  if (altered) return;
  answer.error_code = wire_code(altered.error());
  answer.error_message = altered.error().text;
}

}  // namespace

io::Task<IncrementalAlterConfigsResponse> incremental_alter_configs(
    Context& context, IncrementalAlterConfigsRequest request) {
  IncrementalAlterConfigsResponse response;
  for (auto& wanted : request.resources) {
    auto& answer = response.responses.emplace_back();
    answer.resource_type = wanted.resource_type;
    answer.resource_name = wanted.resource_name;
    std::vector<ConfigChange> changes;
    for (auto& config : wanted.configs) {
      changes.push_back({std::move(config.name), config.config_operation, std::move(config.value)});
    }
    auto altered = co_await alter_configs_of(context, wanted.resource_type, wanted.resource_name,
                                             std::move(changes), false, request.validate_only);
    say(altered, answer);
  }
  co_return response;
}

io::Task<AlterConfigsResponse> alter_configs(Context& context, AlterConfigsRequest request) {
  AlterConfigsResponse response;
  for (auto& wanted : request.resources) {
    auto& answer = response.responses.emplace_back();
    answer.resource_type = wanted.resource_type;
    answer.resource_name = wanted.resource_name;
    std::vector<ConfigChange> changes;
    for (auto& config : wanted.configs) {
      changes.push_back({std::move(config.name), kSetConfig, std::move(config.value)});
    }
    auto altered = co_await alter_configs_of(context, wanted.resource_type, wanted.resource_name,
                                             std::move(changes), true, request.validate_only);
    say(altered, answer);
  }
  co_return response;
}

}  // namespace millrace::kafka

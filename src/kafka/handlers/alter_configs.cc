#include "kafka/detail/error_codes.h"
#include "kafka/handlers/configs.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

namespace {

/// AlterConfigs says all that is set, the incremental one what changes.
enum class Said { kAll, kChanges };

template <typename Config>
ConfigChange change_of(Config& config) {
  int8_t operation = kSetConfig;
  if constexpr (requires { config.config_operation; }) operation = config.config_operation;
  return {std::move(config.name), operation, std::move(config.value)};
}

template <typename Response, typename Request>
io::Task<Response> alter(Context& context, Request request, Said said) {
  Response response;
  for (auto& wanted : request.resources) {
    auto& answer = response.responses.emplace_back();
    answer.resource_type = wanted.resource_type;
    answer.resource_name = wanted.resource_name;
    std::vector<ConfigChange> changes;
    for (auto& config : wanted.configs) changes.push_back(change_of(config));
    auto altered =
        co_await alter_configs_of(context, wanted.resource_type, wanted.resource_name,
                                  std::move(changes), said == Said::kAll, request.validate_only);
    answer.error_message = std::nullopt;
    if (altered) continue;
    answer.error_code = wire_code(altered.error());
    answer.error_message = altered.error().text;
  }
  co_return response;
}

}  // namespace

io::Task<IncrementalAlterConfigsResponse> incremental_alter_configs(
    Context& context, IncrementalAlterConfigsRequest request) {
  return alter<IncrementalAlterConfigsResponse>(context, std::move(request), Said::kChanges);
}

io::Task<AlterConfigsResponse> alter_configs(Context& context, AlterConfigsRequest request) {
  return alter<AlterConfigsResponse>(context, std::move(request), Said::kAll);
}

}  // namespace millrace::kafka

#include "kafka/detail/error_codes.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

namespace {

using Component = DescribeClientQuotasRequest::ComponentData;

// How a component of the question is matched. Source: DescribeClientQuotasRequest.MatchType.
constexpr int8_t kExact = 0, kDefault = 1, kSpecified = 2;

bool fits(const broker::QuotaEntity& entity, const Component& component) {
  const auto at = entity.find(component.entity_type);
  if (at == entity.end()) return false;
  switch (component.match_type) {
    case kExact:
      return at->second == component.match;
    case kDefault:
      return !at->second;
    default:
      return true;
  }
}

bool fits(const broker::QuotaEntity& entity, const DescribeClientQuotasRequest& request) {
  if (request.strict && entity.size() != request.components.size()) return false;
  return std::ranges::all_of(request.components,
                             [&](const Component& c) { return fits(entity, c); });
}

io::Task<Result<>> alter(broker::Quotas& quotas, AlterClientQuotasRequest::EntryData wanted,
                         bool validate_only) {
  broker::QuotaEntity entity;
  for (auto& part : wanted.entity) {
    if (!entity.emplace(part.entity_type, std::move(part.entity_name)).second) {
      co_return Error{ErrorCode::kInvalidArgument,
                      fmt::format("the entity names its {} twice", part.entity_type)};
    }
  }
  std::map<std::string, std::optional<double>> changes;
  for (auto& op : wanted.ops) {
    const auto value = op.remove ? std::nullopt : std::optional(op.value);
    if (!changes.emplace(op.key, value).second) {
      co_return Error{ErrorCode::kInvalidArgument,
                      fmt::format("quota '{}' is changed twice", op.key)};
    }
  }
  co_return co_await quotas.alter(std::move(entity), std::move(changes), validate_only);
}

}  // namespace

io::Task<DescribeClientQuotasResponse> describe_client_quotas(Context& context,
                                                              DescribeClientQuotasRequest request) {
  DescribeClientQuotasResponse response;
  response.error_message = std::nullopt;
  for (const auto& component : request.components) {
    if (component.match_type >= kExact && component.match_type <= kSpecified) continue;
    response.error_code = wire::kInvalidRequest;
    response.error_message = fmt::format("there is no match type {}", component.match_type);
    response.entries = std::nullopt;
    co_return response;
  }
  for (const auto& row : context.quotas().list()) {
    if (!fits(row.entity, request)) continue;
    auto& entry = response.entries->emplace_back();
    for (const auto& [type, name] : row.entity) {
      auto& part = entry.entity.emplace_back();
      part.entity_type = type;
      part.entity_name = name;
    }
    for (const auto& [key, value] : row.values) {
      auto& quota = entry.values.emplace_back();
      quota.key = key;
      quota.value = value;
    }
  }
  co_return response;
}

io::Task<AlterClientQuotasResponse> alter_client_quotas(Context& context,
                                                        AlterClientQuotasRequest request) {
  AlterClientQuotasResponse response;
  for (auto& wanted : request.entries) {
    auto& answer = response.entries.emplace_back();
    answer.error_message = std::nullopt;
    for (const auto& part : wanted.entity) {
      auto& told = answer.entity.emplace_back();
      told.entity_type = part.entity_type;
      told.entity_name = part.entity_name;
    }
    auto altered = co_await alter(context.quotas(), std::move(wanted), request.validate_only);
    if (altered) continue;
    answer.error_code = wire_code(altered.error());
    answer.error_message = altered.error().text;
  }
  co_return response;
}

}  // namespace millrace::kafka

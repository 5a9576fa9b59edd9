#include <fmt/format.h>

#include "kafka/detail/error_codes.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

namespace {

// What a key names. Source: Kafka's CoordinatorType.
constexpr int8_t kShare = 2;  // group:topic id:partition; from version 6 on
constexpr int16_t kManyKeys = 4;
constexpr int16_t kKnowsShare = 6;

/// This node is everyone's coordinator.
FindCoordinatorResponse::Coordinator coordinator_of(const Context& context, std::string key,
                                                    int8_t key_type) {
  FindCoordinatorResponse::Coordinator out;
  out.key = std::move(key);
  const bool known = key_type >= 0 && (key_type < kShare ||
                                       (key_type == kShare && context.version() >= kKnowsShare));
  if (known) {
    out.node_id = kNodeId;
    out.host = context.services.host;
    out.port = context.services.port;
    out.error_message = std::nullopt;
  } else {
    out.error_code = wire::kInvalidRequest;
    out.error_message = fmt::format("there is no coordinator of type {}", key_type);
    out.node_id = -1;
    out.port = -1;
  }
  return out;
}

}  // namespace

io::Task<FindCoordinatorResponse> find_coordinator(Context& context,
                                                   FindCoordinatorRequest request) {
  FindCoordinatorResponse response;
  if (context.version() >= kManyKeys) {
    for (auto& key : request.coordinator_keys) {
      response.coordinators.push_back(coordinator_of(context, std::move(key), request.key_type));
    }
    co_return response;
  }
  auto one = coordinator_of(context, std::move(request.key), request.key_type);
  response.error_code = one.error_code;
  response.error_message = std::move(one.error_message);
  response.node_id = one.node_id;
  response.host = std::move(one.host);
  response.port = one.port;
  co_return response;
}

}  // namespace millrace::kafka

#include "kafka/detail/dispatch.h"
#include "kafka/detail/error_codes.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

namespace {

/// What clients may use beyond the versions of requests: by its feature level a client decides
/// whether it speaks the newer of two protocols. Source: KIP-584.
struct Feature {
  const char* name;
  int16_t version_max;  // 0 is "off"; in force is always the newest
};
constexpr Feature kFeatures[] = {
    {"group.version", 1},        // consumer groups of KIP-848
    {"share.version", 1},        // share groups, KIP-932
    {"transaction.version", 2},  // an epoch for each transaction, KIP-890
};

void add_features(ApiVersionsResponse& response, int16_t version) {
  response.finalized_features_epoch = 0;
  for (const Feature& feature : kFeatures) {
    auto& finalized = response.finalized_features.emplace_back();
    finalized.name = feature.name;
    finalized.min_version_level = feature.version_max;
    finalized.max_version_level = feature.version_max;
    // Clients before version 4 of the request fail on a range that begins at 0 (KAFKA-17011).
    if (version < 4) continue;
    auto& supported = response.supported_features.emplace_back();
    supported.name = feature.name;
    supported.min_version = 0;
    supported.max_version = feature.version_max;
  }
}

ApiVersionsResponse::ApiVersion range_of(const ApiInfo& api) {
  ApiVersionsResponse::ApiVersion range;
  range.api_key = api.key;
  range.min_version = api.version_min;
  range.max_version = api.version_max;
  // librdkafka takes a broker that does not offer Produce 0 for one without lz4 and snappy; Kafka
  // offers it and refuses it, and so do we (KAFKA-18659).
  if (api.key == static_cast<int16_t>(ApiKey::kProduce)) range.min_version = 0;
  return range;
}

}  // namespace

ApiVersionsResponse api_versions_unsupported() {
  ApiVersionsResponse response;
  response.error_code = wire::kUnsupportedVersion;
  response.api_keys.push_back(range_of(*find_api(ApiVersionsRequest::kApiKey)));
  return response;
}

io::Task<ApiVersionsResponse> api_versions(Context& context, ApiVersionsRequest request) {
  const auto allowed = [](const std::string& text) {
    // As Kafka: letters and digits at both ends, dots and dashes between (KIP-511).
    const auto plain = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    };
    return !text.empty() && plain(text.front()) && plain(text.back()) &&
           std::ranges::all_of(text, [&](char c) { return plain(c) || c == '-' || c == '.'; });
  };
  ApiVersionsResponse response;
  context.client.software =
      fmt::format("{} {}", request.client_software_name, request.client_software_version);
  if (context.version() >= 3 &&
      (!allowed(request.client_software_name) || !allowed(request.client_software_version))) {
    response.error_code = wire::kInvalidRequest;
    co_return response;
  }
  for (const ApiInfo& api : kApis) {
    if (is_answered(api.key)) response.api_keys.push_back(range_of(api));
  }
  if (context.version() >= 3) add_features(response, context.version());
  co_return response;
}

}  // namespace millrace::kafka

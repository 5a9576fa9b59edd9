#include "kafka/detail/header.h"

#include <algorithm>

#include "kafka/messages.h"

namespace millrace::kafka {

const ApiInfo* find_api(int16_t key) {
  const auto* at = std::ranges::lower_bound(kApis, key, {}, &ApiInfo::key);
  return at != std::end(kApis) && at->key == key ? at : nullptr;
}

RequestHeader RequestHeader::read(Reader& in) {
  RequestHeader header;
  header.api_key = in.int16();
  header.api_version = in.int16();
  header.correlation_id = in.int32();
  // The client id keeps its two-byte length in every version.
  in.string(header.client_id, false, true);
  header.api = find_api(header.api_key);
  header.version_supported = header.api != nullptr &&
                             header.api_version >= header.api->version_min &&
                             header.api_version <= header.api->version_max;
  if (header.version_supported && header.api_version >= header.api->flexible_min) in.skip_tags();
  return header;
}

void write_response_header(Writer& out, const RequestHeader& request) {
  out.int32(request.correlation_id);
  const bool flexible = request.version_supported &&
                        request.api_version >= request.api->flexible_min &&
                        request.api_key != static_cast<int16_t>(ApiKey::kApiVersions);
  if (flexible) out.varint(0);
}

}  // namespace millrace::kafka

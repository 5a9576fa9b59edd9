#pragma once

#include <optional>
#include <string>

#include "kafka/detail/wire.h"

namespace millrace::kafka {

/// The head of a request, versions 1 and 2 (2 ends with tagged fields, from an API's first flexible
/// version on).
struct RequestHeader {
  int16_t api_key = 0;
  int16_t api_version = 0;
  int32_t correlation_id = 0;
  std::optional<std::string> client_id;
  const ApiInfo* api = nullptr;    // null: an API that we do not answer
  bool version_supported = false;  // whether api_version can be decoded

  /// Reads it; the tagged fields are read only when the version is supported. Faults stay in `in`.
  static RequestHeader read(Reader& in);
};

/// Null when the API is not answered.
const ApiInfo* find_api(int16_t key);

/// The head of a response: version 1 (tagged fields) for flexible versions, but always 0 for
/// ApiVersions, whose reader knows no version yet.
void write_response_header(Writer& out, const RequestHeader& request);

}  // namespace millrace::kafka

#pragma once

#include <string>

#include "base/result.h"

namespace millrace::app {

inline constexpr const char* kDefaultData = "millrace-data";
inline constexpr const char* kDefaultKafka = "127.0.0.1:9092";
inline constexpr const char* kDefaultPg = "127.0.0.1:5432";
inline constexpr const char* kFallbackPg = "127.0.0.1:5433";
inline constexpr const char* kDefaultHttp = "127.0.0.1:8080";

/// DIR/node.json: where a running node listens.
struct NodeFile {
  int64_t pid = 0;
  std::string version;
  std::string kafka, pg, http;  // host:port
};

/// Written when the node is ready, in one step; removed when it stops.
Result<> write_node_file(const std::string& folder, const NodeFile& node);
/// Errors: kConnectionClosed when there is none or its process is gone.
Result<NodeFile> read_node_file(const std::string& folder);
void remove_node_file(const std::string& folder);

}  // namespace millrace::app

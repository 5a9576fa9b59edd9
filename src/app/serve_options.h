#pragma once

#include <chrono>

#include "base/config.h"
#include "base/logging.h"

namespace millrace {

/// What `millrace serve` is told, typed.
struct ServeOptions {
  std::string data;  // the node's folder
  config::Address kafka;
  config::Address pg;
  bool pg_may_move = false;  // nobody chose pg: the next port will do when it is taken
  config::Address http;
  size_t cores = 0;           // 0: all that there are
  uint64_t memory_bytes = 0;  // 0: the node decides by the machine
  logging::Level log_level = logging::Level::kInfo;
  logging::Format log_format = logging::Format::kText;
  std::string kafka_advertised;  // "host:port" that clients are told; empty: the one in use
  bool auto_create_topics = true;
  size_t kafka_connections_max = 0;
  std::chrono::milliseconds kafka_idle{};  // after which a silent connection is closed

  /// The declarations: flags, help and documentation are made of these.
  static std::vector<config::Option> declared();
  /// Errors: see config::Config::load(); kInvalidConfig when no data folder is named.
  static Result<ServeOptions> load(const config::Inputs& inputs);
};

}  // namespace millrace

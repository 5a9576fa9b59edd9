#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "app/node_file.h"
#include "base/io/shard.h"
#include "base/result.h"

namespace millrace::app {

struct NodeOptions {
  std::string data;
  std::string kafka, pg, http;  // host:port; port 0 picks a free one
  std::string
      kafka_advertised;      // what Kafka clients are told to connect to; empty: the address in use
  bool pg_fallback = false;  // when the address is taken, the next port is tried
  size_t cores = 1;          // I/O shards, and dataflow lanes
  size_t memory_bytes = 0;
  bool auto_create_topics = true;
  size_t kafka_connections_max = 10'000;
  std::chrono::milliseconds kafka_idle = std::chrono::minutes(10);
};

/// Everything that one node is made of, assembled: reading start() shows what a node is.
class Node {
 public:
  /// Opens DIR, recovers it, listens, writes DIR/node.json. Errors: kDataFolderInUse (names the
  /// process), kIo, and what the rooms say.
  static Result<std::unique_ptr<Node>> start(const NodeOptions& options);
  /// Stops if stop() was not called.
  ~Node();

  const NodeFile& addresses() const;

  /// In order: no new connections; requests under way answered; dataflows finish their epochs; all
  /// flushed and closed.
  Result<> stop();

 private:
  struct Parts;
  explicit Node(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace millrace::app

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "broker/groups.h"
#include "broker/transactions.h"
#include "broker/transforms.h"
#include "catalog/catalog.h"

namespace millrace::connect {

/// A connector at one moment.
struct ConnectorStatus {
  std::string name;
  catalog::Kind kind = catalog::Kind::kSource;  // or kSink
  std::string connector;                        // "kafka", "http"
  std::string topic;                            // of ours
  std::string owner;
  std::string state;  // "starting", "running", "waiting" (for its retry), "paused", "failed"
  uint64_t records = 0, bytes = 0;   // kept, or acknowledged, since the node's start
  uint64_t errors = 0;               // runs that failed
  uint64_t restarts = 0;             // runs after the first
  std::optional<std::string> error;  // why the last one failed
  TimestampMs error_at = -1;
  TimestampMs retry_at = -1;    // while it waits
  std::optional<uint64_t> lag;  // records that are still to be read
};

/// Sources and sinks: each runs on a thread of its own, and is started again when it fails, after a
/// pause that grows. Any thread that is no shard's.
class Connectors {
 public:
  struct Rooms {
    io::Runtime& runtime;
    io::Env& env;
    broker::Broker& broker;
    broker::Groups& groups;
    broker::Transactions& transactions;
  };
  /// What `rooms` names outlives it.
  static std::unique_ptr<Connectors> make(Rooms rooms);
  virtual ~Connectors() = default;

  /// Whether `object` could be started; asks nobody else. Errors: kNotSupported (no such
  /// connector), kInvalidConfig naming the option.
  virtual Result<> check(const catalog::Object& object) = 0;
  /// Starts it, or has it go on by its new definition: where it is, unless that is kept elsewhere
  /// now. What fails is told by status(), also a definition that check() would refuse: its state is
  /// "failed". Errors: kShuttingDown.
  virtual Result<> start(const catalog::Object& object) = 0;
  /// Ends it, and forgets its position.
  virtual Result<> remove(const catalog::Object& object) = 0;
  /// Ends all; none starts any more.
  virtual void stop() = 0;

  /// Puts what a body holds into the topic of a source that others feed; durable when it answers.
  /// Gives the number of records. Errors: kUndefinedObject (no such source), kNotSupported (it
  /// reads by itself), kInvalidRecord, those of the append.
  virtual Result<uint64_t> feed(const std::string& source, std::string_view body) = 0;

  virtual std::vector<ConnectorStatus> status() const = 0;
  /// What the transforms of connectors have done, the connector in the topic's place.
  virtual std::vector<broker::TransformCounts> counts() const = 0;
};

}  // namespace millrace::connect

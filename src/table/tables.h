#pragma once

#include <memory>

#include "broker/broker.h"
#include "sql/engine.h"
#include "sql/relation.h"

namespace millrace::table {

/// The tables of a node. A table is a fold over its log: rows in memory by primary key, following
/// the topic of its name (compacted; key: JSON array of the primary key's values; value: JSON
/// object of the row, none: the row is gone). Every write is an append to that log, durable before
/// it is visible; a Kafka client may write it too. Any thread; may block.
class Tables {
 public:
  static std::unique_ptr<Tables> make(io::Runtime& runtime, io::Env& env, broker::Broker& broker);
  virtual ~Tables() = default;
  /// Replays the log and follows it from then on.
  virtual Result<> add(const catalog::Object& table) = 0;
  virtual Result<> remove(const std::string& name) = 0;
  /// Null when unknown.
  virtual std::shared_ptr<sql::Relation> find(const std::string& name) = 0;
  /// Stops following.
  virtual void stop() = 0;
};

}  // namespace millrace::table

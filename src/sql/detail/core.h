#pragma once

#include <atomic>
#include <memory>

#include "base/io/env.h"
#include "base/io/shard.h"
#include "broker/broker.h"
#include "catalog/catalog.h"
#include "sql/relation.h"

namespace millrace::sql {

/// What both DuckDB instances share: the node's catalog and broker, and who serves tables and
/// views. Lives as long as the Engine.
struct Core {
  io::Runtime& runtime;
  io::Env& env;
  catalog::Catalog& catalog;
  broker::Broker& broker;
  std::atomic<Host*> host = nullptr;
  std::atomic<uint32_t> next_partition = 0;  // for records without a key

  /// The rows of a topic, table or materialized view. Errors: kUndefinedObject when nobody serves
  /// it (yet).
  Result<std::shared_ptr<Relation>> relation(const catalog::Object& object);
  /// A shard to wait on for work that belongs to none in particular.
  io::Shard& any_shard() { return runtime.shard(0); }
};

/// A topic's records as rows, read from the broker's partitions.
Result<std::shared_ptr<Relation>> make_topic_relation(Core& core, const catalog::Object& topic);

}  // namespace millrace::sql

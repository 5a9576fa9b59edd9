#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "broker/broker.h"
#include "flow/detail/source.h"
#include "sql/engine.h"

namespace millrace::flow {

/// Whether who reads the one reads the other: the same topic, with the same partitions, columns and
/// watermark.
bool is_same(const broker::Topic& a, const broker::Topic& b);

/// The sources of a node, each made when it is first asked for and shared while someone reads it.
/// Any thread that is not a shard's.
class SourceRegistry {
 public:
  /// `decoded_bytes_max`: of what readers have not passed yet, in all.
  SourceRegistry(io::Env& env, broker::Broker& broker, sql::Engine& engine,
                 size_t decoded_bytes_max)
      : env_(env), broker_(broker), engine_(engine), budget_{.bytes_max = decoded_bytes_max} {}

  /// Errors: kUndefinedObject; what the topic's watermark has against it.
  Result<std::shared_ptr<Source>> get(const std::string& name);

 private:
  io::Env& env_;
  broker::Broker& broker_;
  sql::Engine& engine_;
  DecodeBudget budget_;
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<Source>> sources_;
};

}  // namespace millrace::flow

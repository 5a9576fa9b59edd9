#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "broker/transactions.h"
#include "broker/transforms.h"

namespace millrace::broker {

/// What a pipeline has done since the node started, or since its definition last changed. Its
/// batches are the transactions that were committed, with their records; failures: batches that a
/// module failed as a whole; record_errors: records that were left out or set aside.
struct PipelineStatus : wasm::Counters {
  std::string name;
  std::string state;   // "starting", "running", "paused", "retrying", "failed"
  std::string reason;  // of the last two: why
  uint64_t state_keys = 0, state_bytes = 0;
  int64_t lag = 0;  // records of the inputs that are committed and not yet taken
};

/// Runs pipelines (CREATE TRANSFORM): the records of topics go through guests into other topics,
/// each exactly once. One task for each partition number reads the partitions of that number of all
/// inputs; what it has read, what came out of it and what aggregates keep are committed in one
/// transaction. A task begins with the positions and states that are committed, so that a crash, or
/// an error anywhere, costs work and nothing else. Positions and states of a pipeline stand in a
/// compacted topic of its own, partition by partition as the tasks; docs/transforms.md.
///
/// A record that fails follows ON ERROR. kReject, and what no repetition can mend: the pipeline
/// fails, until start(). All other errors: the task begins again, after a while.
///
/// Calls block, and come from threads that are no shard's.
class Pipelines {
 public:
  struct Options {
    std::chrono::milliseconds retry_min = std::chrono::milliseconds(100);
    std::chrono::milliseconds retry_max = std::chrono::seconds(30);
    /// How often inputs are looked at for new partitions.
    std::chrono::milliseconds look_interval = std::chrono::seconds(1);
    size_t state_bytes_max = size_t{512} << 20;  // of all aggregates
  };
  /// What a node's pipelines run on. All of it outlives them.
  struct Surroundings {
    io::Runtime& runtime;
    io::Env& env;
    catalog::Catalog& catalog;
    Broker& broker;
    Transactions& transactions;
    Transforms& transforms;
  };
  /// Starts what the catalog holds; what cannot be started is logged.
  static Result<std::unique_ptr<Pipelines>> open(Surroundings surroundings, Options options);
  static Result<std::unique_ptr<Pipelines>> open(Surroundings surroundings) {
    return open(surroundings, Options());
  }
  virtual ~Pipelines() = default;

  /// Makes the topic of the positions, and notes there where the pipeline begins in each input that
  /// `old` (null: there was none) has not; durable. Before the catalog has `pipeline`. Errors:
  /// kUndefinedObject, those of Broker::create() and of the log.
  virtual Result<> prepare(const catalog::Object& pipeline, const catalog::Object* old) = 0;
  /// Begins, or begins again with another definition, after a failure, or paused.
  virtual Result<> start(const catalog::Object& pipeline) = 0;
  /// Ends its tasks, each after what it is about to commit. Nothing when it does not run.
  virtual void stop(std::string_view name) = 0;
  /// Drops what prepare() made, and lets go of the inputs. The catalog has it no more.
  virtual Result<> forget(const catalog::Object& pipeline) = 0;
  /// By name.
  virtual std::vector<PipelineStatus> status() const = 0;
  /// Stops all. Before the transactions are closed.
  virtual void close() = 0;
};

}  // namespace millrace::broker

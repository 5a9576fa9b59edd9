#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/io/gate.h"
#include "broker/detail/pipeline_task.h"

namespace millrace::broker::detail {

/// The pipelines of a node by name, each with its tasks.
class PipelinesImpl final : public Pipelines {
 public:
  PipelinesImpl(Surroundings around, Options options)
      : around_(around), options_(options), home_(around_.runtime.shard(0)) {}
  ~PipelinesImpl() override { close(); }
  /// Starts what the catalog holds, and drops what a crash has left of others.
  Result<> begin();

  Result<> prepare(const catalog::Object& pipeline, const catalog::Object* old) override;
  Result<> start(const catalog::Object& pipeline) override;
  void stop(std::string_view name) override;
  Result<> forget(const catalog::Object& pipeline) override;
  std::vector<PipelineStatus> status() const override;
  void close() override;

 private:
  struct Running {
    std::shared_ptr<PipelinePlan> plan;
    std::vector<std::shared_ptr<PipelineTask>> tasks;  // by partition
  };

  /// The most partitions that an input has.
  size_t partitions_of(const std::vector<std::string>& topics) const;
  Result<> drop_orphans();
  Result<std::shared_ptr<const Topic>> state_topic(const catalog::Object& pipeline,
                                                   size_t partitions);
  io::Task<Result<>> note_start(std::shared_ptr<Partition> states, std::string input,
                                std::shared_ptr<Partition> partition, std::string start);
  void add_task(Running& running);

  io::Task<void> keep_looking();
  /// New partitions of inputs get tasks; an aggregate, whose keys they move, fails.
  io::Task<void> look(std::string name);
  io::Task<Result<>> grow(const catalog::Object& pipeline, size_t partitions);

  Surroundings around_;
  const Options options_;
  io::Shard& home_;
  std::atomic<size_t> state_bytes_ = 0;
  std::mutex changing_;  // one start or stop at a time
  mutable std::mutex mutex_;
  std::map<std::string, Running, std::less<>> running_;
  io::Gate gate_;  // of home_
  bool closed_ = false;
};

}  // namespace millrace::broker::detail

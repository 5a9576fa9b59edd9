#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/io/gate.h"
#include "base/io/signal.h"
#include "broker/detail/pipeline_batch.h"
#include "broker/pipelines.h"

namespace millrace::broker::detail {

/// A pipeline as it was defined, and what its tasks share. Any thread.
struct PipelinePlan {
  catalog::Object object;
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  std::string state_topic;
  bool stateful = false;
  bool paused = false;

  /// It does nothing any more, until it is started again.
  void fail(std::string why);
  /// Empty: it has not failed.
  std::string failure() const;
  std::atomic<bool> failed = false;

 private:
  mutable std::mutex mutex_;
  std::string why_;
};

/// What one task has done.
struct TaskCounts {
  bool started = false;  // it has read back what is committed
  std::string retrying;  // why; empty: it works
  PipelineStatus sums;   // name, state and reason are the pipeline's
};

/// One task of a pipeline: reads the partitions of one number of all inputs, sends their records
/// through the guests, commits, and begins again. Lives on its shard; counts() is for any thread.
class PipelineTask {
 public:
  PipelineTask(Pipelines::Surroundings& around, const Pipelines::Options& options,
               std::atomic<size_t>& all_state_bytes, std::shared_ptr<PipelinePlan> plan,
               int32_t partition, io::Shard& shard);
  ~PipelineTask();

  void begin();
  /// Continues when what it was about to commit is committed, and nothing runs any more.
  io::Task<void> close();
  TaskCounts counts() const;

 private:
  struct Input {
    size_t index;  // in the plan
    std::shared_ptr<Partition> partition;
    Offset at = 0;  // the next that it takes
    size_t inflated_bytes_max = 0;
  };
  /// An append of the transaction under way.
  struct Append {
    std::shared_ptr<Partition> partition;
    std::string batches;
    Result<> outcome;
  };

  io::Task<void> run();
  io::Task<Result<>> work();
  io::Task<Result<>> recover();
  io::Task<Result<>> load_state();
  Result<> find_inputs();
  Result<> set_terms();
  io::Task<Result<>> open_guests();
  io::Task<Result<LookBacks>> look_back();
  io::Task<Result<std::vector<PipelineInput>>> gather();
  io::Task<Result<>> commit(PipelineResult result);
  io::Task<Result<std::vector<Append>>> appends_of(PipelineResult result);
  io::Task<Result<>> write(std::vector<Append> appends);
  io::Task<void> append(Append& append);
  io::Task<Result<>> hold_inputs();
  void listen(bool on);
  std::map<std::string, Offset> positions() const;
  void note_started();
  void note(const PipelineResult& result);
  void note_guests();
  void note_state();

  Pipelines::Surroundings& around_;
  const Pipelines::Options& options_;
  std::atomic<size_t>& all_state_bytes_;
  const std::shared_ptr<PipelinePlan> plan_;
  const int32_t partition_;
  io::Shard& shard_;
  const std::string id_;  // transactional
  io::Gate gate_;
  const std::shared_ptr<io::Signal> advanced_;  // an input has
  io::Gate::OnClose wake_;

  // Of one attempt.
  Producer producer_;
  PipelineState state_;
  std::shared_ptr<Partition> state_log_;
  std::vector<Input> inputs_;
  PipelineTerms terms_;
  OpenedChain chain_;
  std::chrono::milliseconds pause_{0};

  size_t state_bytes_ = 0;  // as all_state_bytes_ counts them
  mutable std::mutex mutex_;
  TaskCounts counts_;
  wasm::Counters guests_before_;                                     // of the chains before chain_
  std::vector<std::pair<std::shared_ptr<Partition>, Offset>> read_;  // for the lag
};

}  // namespace millrace::broker::detail

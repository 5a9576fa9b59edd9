#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "wasm/chain.h"
#include "wasm/detail/decoder.h"
#include "wasm/detail/engine_impl.h"
#include "wasm/detail/grouping.h"

namespace millrace::wasm {

/// Steps that share an instance.
struct Slot {
  IdleInstances idle;
  std::vector<size_t> steps;
};

struct Chain::Impl {
  struct Place {  // of a step
    Kind kind;
    size_t slot;
    size_t function;  // index in Instance::functions
  };

  Impl(std::shared_ptr<Engine::Impl> of, ChainOptions given);
  ~Impl();
  /// Which steps share an instance.
  Result<> arrange();
  Result<> check(const Step& step) const;

  /// An instance of the slot: an idle one, or one that is started, with parameters and look-back.
  Result<std::unique_ptr<Instance>> take(size_t slot);
  Result<std::unique_ptr<Instance>> start(size_t slot);
  Result<> init(Instance& instance, size_t step);
  /// The error of a step, with what a reader needs to know where it is.
  Error tell(size_t step, const std::string& what) const;

  std::unique_ptr<Output::Impl> spare();

  const std::shared_ptr<Engine::Impl> engine;
  const ChainOptions options;
  std::vector<Place> places;
  std::vector<Slot> slots;
  Counting counting;
  const std::shared_ptr<Lanes::Source> source = std::make_shared<Lanes::Source>();
  std::mutex mutex;
  std::vector<std::unique_ptr<Output::Impl>> spares;  // their vectors are warm
};

/// One pass of a batch through a chain: its instances, and what they gave. Used again for later
/// batches, so that nothing is allocated for a record.
struct Output::Impl {
  Impl(size_t slots, uint64_t seed) : instances(slots), grouping(seed) {}

  Result<> pass(const Batch& batch, StateReader* states);
  Result<> step(size_t index, StateReader* states);
  Result<uint32_t> hand_over(Instance& instance, size_t index, bool aggregate);
  void collect_errors(const Decoded& result, size_t index);
  void trace_back(Decoded& result);
  void collect_states(const Decoded& result);
  void count_cpu(Module::Impl& module);
  /// Ends the instance of the slot `failed`; without one, gives all back.
  void let_go(size_t failed = SIZE_MAX);
  void finish();

  std::shared_ptr<Chain::Impl> chain;                // null while spare
  std::vector<std::unique_ptr<Instance>> instances;  // by slot
  Grouping grouping;
  Decoded results[2];  // of the step, and of the one before

  // What the next step is given.
  Batch input;
  uint64_t input_bytes = 0;
  size_t last_slot = SIZE_MAX;  // whose memory it lies in
  uint32_t last_address = 0;
  uint64_t cpu_ns = 0;  // the thread's, when the running step began

  std::vector<uint32_t> origins;  // input of the chain, by input of the step
  std::vector<RecordError> errors;
  std::vector<std::pair<size_t, size_t>> messages;  // of errors: where in `text`
  std::string text;
  std::vector<StateView> changed;
};

}  // namespace millrace::wasm

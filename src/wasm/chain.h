#pragma once

#include <coroutine>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/io/shard.h"
#include "base/result.h"
#include "wasm/engine.h"
#include "wasm/module.h"
#include "wasm/records.h"

namespace millrace::wasm {

/// One transform of a module with its parameters.
struct Step {
  std::shared_ptr<Module> module;
  std::string transform;  // its name in the module
  std::vector<std::pair<std::string, std::string>> params = {};
  Limits limits = {};
  /// The topic's last records, given to each instance after its init; null: none. Only for a
  /// transform that has look_back.
  std::shared_ptr<const OwnedBatch> look_back = nullptr;
};

struct ChainOptions {
  std::string place = {};  // where it stands, for logs and errors: "topic orders on produce"
  std::vector<Step> steps = {};
  /// Failed batches count towards their module's pause, and good ones end the count. Not where
  /// each caller asks once and is told: a user's bad queries must not stop a topic.
  bool pauses = true;
};

/// Where an aggregate's states come from.
class StateReader {
 public:
  virtual ~StateReader() = default;
  /// Fills the values of distinct `states`, whose keys are given; what it gives must live until the
  /// chain's call returns. On the thread that runs the chain.
  virtual Result<> read(std::span<StateView> states) = 0;
};

/// A record of the caller's batch that one step refused; the others go on.
struct RecordError {
  uint32_t input = 0;  // its index in the caller's batch
  uint32_t step = 0;   // index of the step
  std::string_view message;
};

/// What came out of a chain. Views lie in a guest's memory, which is kept for this Output alone
/// until it is destroyed: do that soon, another call would otherwise start another instance.
/// May be read, and destroyed, on any thread (one at a time).
class Output {
 public:
  Output(Output&&) noexcept;
  Output& operator=(Output&&) noexcept;
  ~Output();

  /// In the order of the inputs that they come from. Of a scalar: `value` is the result of row
  /// `input`.
  std::span<const RecordView> records() const;
  /// By step, and by input in it.
  std::span<const RecordError> errors() const;
  /// Of an aggregate: the states that changed, to be committed with the records.
  std::span<const StateView> states() const;

  struct Impl;  // of the room
  explicit Output(std::unique_ptr<Impl> impl);

 private:
  std::unique_ptr<Impl> impl_;
};

/// Transforms applied in order, batch by batch. Steps of one module share an instance, so that what
/// one gives the next takes without leaving the guest's memory. Any thread, several calls at once
/// (each has instances of its own). Instances are kept between calls; one that failed is dropped.
class Chain {
 public:
  /// Errors: kUndefinedFunction (names what the module has), kInvalidArgument (limits or steps that
  /// cannot be; parameters for a transform without init; more than one aggregate, a scalar that is
  /// not alone).
  static Result<std::shared_ptr<Chain>> open(Engine& engine, ChainOptions options);
  ~Chain();
  Chain(const Chain&) = delete;
  Chain& operator=(const Chain&) = delete;

  /// Makes an instance of each module ready, so that wrong parameters are told now. Not on a shard.
  Result<> start();

  /// Sends `batch` through, on this thread, which must not be a shard's. `states` is for a chain
  /// with an aggregate. Cost: a few microseconds, then some 50 ns a record and the guest's own
  /// work; nothing is allocated for a record. Errors: kGuestFailed, saying which transform
  /// failed, at what, and why: the whole batch has failed then, and nothing has changed.
  Result<Output> apply(const Batch& batch, StateReader* states = nullptr);

  /// From a shard: `co_await chain.on_lane(f)` runs f() on a lane (decode, apply(), encode), then
  /// continues on the caller's shard. A chain has at most all lanes but two at a time (at least
  /// one), in the order of asking. Not a coroutine lambda: `f` is a plain function object and may capture.
  template <typename F>
  io::Task<std::invoke_result_t<F>> on_lane(F f);
  /// on_lane() with apply(); what `batch` views must live until it is done.
  io::Task<Result<Output>> run(Batch batch, StateReader* states = nullptr);

  const ChainOptions& options() const;
  /// Of this chain alone; the modules' own count all their chains.
  Counters counters() const;

  struct Impl;  // of the room

 private:
  explicit Chain(std::shared_ptr<Impl> impl);
  void enqueue(std::move_only_function<void()> work);
  std::shared_ptr<Impl> impl_;
};

// ---- what the template needs

template <typename F>
io::Task<std::invoke_result_t<F>> Chain::on_lane(F f) {
  using T = std::invoke_result_t<F>;
  io::Shard* origin = io::Shard::current();
  MR_CHECK(origin != nullptr);
  std::optional<T> result;
  struct Suspend {
    Chain& chain;
    io::Shard& origin;
    F& f;
    std::optional<T>& out;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) {
      chain.enqueue([this, h] {
        out.emplace(f());
        origin.post([h] { h.resume(); });
      });
    }
    void await_resume() const noexcept {}
  };
  auto suspend = Suspend{*this, *origin, f, result};
  co_await suspend;
  co_return std::move(*result);
}

}  // namespace millrace::wasm

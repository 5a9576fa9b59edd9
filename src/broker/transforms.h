#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/broker.h"
#include "wasm/module.h"

namespace millrace::wasm {
class Chain;
class Engine;
class OwnedBatch;
}  // namespace millrace::wasm

namespace millrace::broker {

class Pipelines;  // pipelines.h

/// The transforms of one topic, as its definition lists them. Immutable but for what is kept to run
/// them; any thread.
class TopicTransforms {
 public:
  /// Null when `topic` has none.
  static std::shared_ptr<const TopicTransforms> of(const catalog::Object& topic);
  ~TopicTransforms();

  const std::string& topic() const { return topic_; }
  const std::vector<catalog::Transform>& all() const { return all_; }
  bool any(catalog::Transform::Place place) const;
  /// Those that records go through, in order; on fetch: for a consumer of `group` (empty: of none)
  /// that is logged in as `user`.
  std::vector<catalog::Transform> steps(catalog::Transform::Place place, std::string_view group,
                                        std::string_view user) const;

  struct Ready;  // of Transforms: the chains that are loaded
  Ready& ready() const { return *ready_; }

 private:
  explicit TopicTransforms(const catalog::Object& topic);
  std::string topic_;
  std::vector<catalog::Transform> all_;
  std::unique_ptr<Ready> ready_;
};

/// Transforms in order for who is no topic: a pipeline, a connector.
struct OpenedChain {
  uint64_t version = 0;  // of the functions: Transforms::version()
  std::shared_ptr<wasm::Chain> guests;
};

/// By step: the records that it begins with; null: none.
using LookBacks = std::vector<std::shared_ptr<const wasm::OwnedBatch>>;

/// A module as it is kept.
struct KeptModule {
  std::string hash;  // SHA-256 of its bytes, in hex
  size_t bytes = 0;
  std::string exports;  // see catalog::kModuleExports
};

/// What guests did, and others beside them.
inline void add(wasm::Counters& sum, const wasm::Counters& each) {
  sum.batches += each.batches;
  sum.failures += each.failures;
  sum.records_in += each.records_in;
  sum.records_out += each.records_out;
  sum.record_errors += each.record_errors;
  sum.cpu_ns += each.cpu_ns;
  sum.memory_bytes = std::max(sum.memory_bytes, each.memory_bytes);
}

/// Who fetches, as far as a topic may have transforms for some and not for others.
struct Fetcher {
  std::string host;
  std::string client_id;
  std::string user;  // that the connection is logged in as
};

/// What one chain of transforms has done since its topic's definition last changed; its
/// record_errors: records that a module refused, or lost with their batch.
struct TransformCounts : wasm::Counters {
  std::string topic = {};
  catalog::Transform::Place place = catalog::Transform::Place::kProduce;
  std::string group = {};
  std::string user = {};
  std::vector<catalog::Transform> steps = {};
  bool paused = false;  // one of its modules failed too often in a row
};

/// Where a function of SQL is called. A query's failures are the query's alone; a view's count
/// towards its module's pause, since the view would try again and again.
enum class ScalarPlace { kQuery, kView };

/// A line that a guest logged.
struct ModuleLogLine {
  TimestampMs at = 0;
  std::string function;  // every one with the module, with commas between
  std::string module;    // its hash
  std::string place;
  std::string transform;
  std::string level;
  std::string text;
};

/// Keeps modules, and sends the records of topics through them: at produce on their way into the
/// log, at fetch on their way to a consumer. Guests run on threads of their own, so that no shard
/// waits for one. Any thread, unless said otherwise.
///
/// What fails follows ON ERROR: a record that a module refuses by the step that refused it; a batch
/// that fails as a whole by the strictest of its chain. kReject: the producer gets the error, and
/// nothing is kept; a consumer gets what stands before the batch, then the error. kDeadLetter: the
/// records as they were are in the topic's dead letters, durably, before the rest goes on; at fetch
/// a letter is written whenever the record is fetched. kSkip: left out, and counted.
class Transforms {
 public:
  struct Options {
    std::string path;         // DIR/modules: a module is the file HASH.wasm
    size_t lanes = 2;         // threads that run guests
    size_t log_lines = 1000;  // of guests, that are remembered
    // What the limits of one transform may be raised to.
    wasm::Limits limits_max = {.memory_bytes = wasm::Module::kMemoryBytesMax,
                               .time_slice = std::chrono::seconds(1),
                               .output_ratio = 256};
  };
  /// `catalog` and `broker` outlive it. Forgets modules that no function has. Errors: kIo.
  static Result<std::unique_ptr<Transforms>> open(io::Runtime& runtime, io::Env& env,
                                                  catalog::Catalog& catalog, Broker& broker,
                                                  Options options);
  virtual ~Transforms() = default;

  /// Compiles and checks a module, and keeps its bytes, durably; its text form (WAT) is assembled
  /// first. Blocks; not on a shard. Errors: kInvalidArgument and kSyntax, saying what is wrong.
  virtual Result<KeptModule> add_module(std::string_view bytes) = 0;
  /// Of a module that is kept already. Errors: kNotFound.
  virtual Result<std::string> module_bytes(std::string_view hash) = 0;
  /// Starts `step` once, as a topic would: tells wrong parameters. Blocks; not on a shard. Errors:
  /// kUndefinedFunction, kInvalidArgument, kGuestFailed.
  virtual Result<> check(const catalog::Transform& step) = 0;
  /// The same for a function of SQL, which need not be in the catalog yet.
  virtual Result<> check_scalar(const catalog::Object& function) = 0;
  /// The guest of a function of SQL, as the function is now. Blocks while it is loaded; not on a
  /// shard. `signature` is what the caller was bound to. Errors: kUndefinedFunction, and those of
  /// the module.
  virtual Result<std::shared_ptr<wasm::Chain>> scalar(const std::string& function,
                                                      const std::string& signature,
                                                      ScalarPlace place) = 0;
  /// Some function is another one now: from the next batch on.
  virtual void functions_changed() = 0;
  /// Grows with every change of a function.
  virtual uint64_t version() const = 0;
  /// The functions of `steps` as they are now; open it anew when version() has grown. `place` is
  /// told in logs and errors. On a shard. Errors: kUndefinedObject, kUndefinedFunction,
  /// kInvalidArgument, those of reading a module.
  virtual io::Task<Result<OpenedChain>> open_chain(std::vector<catalog::Transform> steps,
                                                   std::string place, LookBacks look_backs) = 0;
  io::Task<Result<OpenedChain>> open_chain(std::vector<catalog::Transform> steps,
                                           std::string place) {
    return open_chain(std::move(steps), std::move(place), {});
  }
  /// Ends the pause of the function's module. Errors: kUndefinedObject.
  virtual Result<> resume(std::string_view function) = 0;

  /// What of `batches` (which validate_batches() has passed) is to be appended to the topic's
  /// partition: the same batches, with some records left out or others in their place. On a shard.
  /// Errors: kGuestFailed; those of the dead letters' partition.
  virtual io::Task<Result<std::string>> produced(std::shared_ptr<const TopicTransforms> transforms,
                                                 int32_t partition, std::string batches) = 0;
  /// What of `batches` a consumer gets. On a shard. Errors: kGuestFailed, kNotAllowed when it
  /// cannot be told which group's consumer this is.
  virtual io::Task<Result<std::string>> fetched(std::shared_ptr<const TopicTransforms> transforms,
                                                int32_t partition, Fetcher fetcher,
                                                std::string batches) = 0;
  /// A client spoke for a group: fetches from that host with that client.id are of its consumers,
  /// until ten minutes after it was last heard. `member`: it takes part in the group; else it used
  /// its offsets, which counts where it is a member of none.
  virtual void seen(std::string_view group, std::string_view host, std::string_view client_id,
                    bool member) = 0;

  virtual std::vector<TransformCounts> counts() const = 0;
  /// The latest lines, oldest first.
  virtual std::vector<ModuleLogLine> logs() const = 0;
  virtual wasm::Engine& engine() = 0;

  /// Who runs the pipelines; set once before statements.
  void set_pipelines(Pipelines* pipelines) { pipelines_ = pipelines; }
  Pipelines* pipelines() const { return pipelines_; }

 private:
  std::atomic<Pipelines*> pipelines_ = nullptr;
};

}  // namespace millrace::broker

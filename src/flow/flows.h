#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "broker/broker.h"
#include "flow/status.h"
#include "sql/engine.h"
#include "sql/relation.h"
#include "sql/subscription.h"

namespace millrace::flow {

/// The materialized views of a node: one incremental dataflow each, spread over lanes (threads).
/// Any thread; may block.
class Flows {
 public:
  struct Options {
    size_t lanes = 2;
    std::chrono::milliseconds epoch_interval{
        5};                          // an epoch begins at most this often, when input waits
    size_t epoch_rows_max = 65'536;  // and takes at most this many rows of each input
    // Between two snapshots of a view's state at least; nullopt: none are taken.
    std::optional<std::chrono::milliseconds> snapshot_interval{30'000};
    // What the state of all views may take of the memory, and the node while some of it is on disk;
    // 0: no limit.
    size_t state_bytes_max = 0;
    size_t resident_bytes_max = 0;
    std::string spill_folder = {};  // for state that is too much; empty: none
  };
  static std::unique_ptr<Flows> make(io::Runtime& runtime, io::Env& env, broker::Broker& broker,
                                     sql::Engine& engine, Options options);
  virtual ~Flows() = default;

  /// Plans the view's query and translates it; refuses what cannot be maintained. Changes nothing.
  virtual Result<> check(const catalog::Object& view) = 0;
  /// Starts the view's dataflow: recovers it from its changelog, or begins at the start of its
  /// inputs. One that runs already is paused or goes on, as the option "paused" says.
  virtual Result<> add(const catalog::Object& view) = 0;
  /// Stops it.
  virtual Result<> remove(const std::string& name) = 0;
  /// The view's operators as EXPLAIN shows them. Errors: kUndefinedObject.
  virtual Result<std::string> describe(const std::string& name) = 0;
  /// All views and sinks, by name, as they are at this moment.
  virtual std::vector<ViewStatus> status() = 0;
  /// The view's rows; null when unknown. A scan waits until the view is recovered, and fails with
  /// the reason when the view has stopped.
  virtual std::shared_ptr<sql::Relation> find(const std::string& name) = 0;
  /// Follows the view's changes. Errors: kUndefinedObject, kInvalidArgument and kOffsetOutOfRange
  /// (the token).
  virtual Result<std::unique_ptr<sql::Subscription>> subscribe(const std::string& name,
                                                               sql::SubscribeOptions options) = 0;
  /// Waits until the view has taken in everything that its inputs held at the time of the call. For
  /// tests and `sync`.
  virtual Result<> wait_caught_up(const std::string& name, std::chrono::milliseconds limit) = 0;
  /// Finishes the epochs under way and stops the lanes.
  virtual void stop() = 0;
};

}  // namespace millrace::flow

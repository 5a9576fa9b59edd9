#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/io/env.h"
#include "millrace/client.h"
#include "wasm/chain.h"
#include "wasm/engine.h"

namespace millrace::client::detail {

/// The transforms with the modules of one moment. Immutable; any thread.
struct Loaded {
  std::vector<std::shared_ptr<wasm::Module>> modules;  // by transform
  std::vector<std::string> names;                      // by transform: "redact.mask"
  bool filters_only = true;                            // what comes out is as it went in
  std::shared_ptr<wasm::Chain> chain;
};

/// The modules of a node in this process, by the engine that runs them there. A thread of its own
/// looks for other ones, compiles them, and puts them in the place of those before; so that a batch
/// sees one module, and waits for none.
class Modules {
 public:
  static Result<std::unique_ptr<Modules>> open(const Options& options);
  ~Modules();

  /// Those to be used for the next batch.
  std::shared_ptr<const Loaded> now() const;
  /// How the last look ended.
  Result<> following() const;

 private:
  explicit Modules(const Options& options);
  Result<std::shared_ptr<wasm::Module>> module(const Transform& transform,
                                               const std::shared_ptr<wasm::Module>& before,
                                               const std::stop_token& stop);
  /// Null: nothing has changed since `before`.
  Result<std::shared_ptr<const Loaded>> load(const Loaded* before, const std::stop_token& stop);
  void follow(const std::stop_token& stop);

  const std::string node_;
  const std::vector<Transform> transforms_;
  const std::chrono::milliseconds look_again_;
  const std::unique_ptr<io::Env> env_ = io::make_real_env();
  std::unique_ptr<wasm::Engine> engine_;
  mutable std::mutex mutex_;  // of what follows
  std::shared_ptr<const Loaded> now_;
  Result<> following_;
  std::condition_variable_any woken_;
  std::jthread follower_;  // last: it uses the rest
};

}  // namespace millrace::client::detail

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/io/env.h"
#include "base/io/shard.h"
#include "base/result.h"
#include "wasm/module.h"

namespace millrace::wasm {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
/// "debug", "info", "warning", "error"
std::string_view to_string(LogLevel level);

/// A line that a guest logged, or wrote to its standard output or error. Views live for the call.
struct LogLine {
  const Module& module;
  std::string_view place;      // ChainOptions::place; empty while the module is being loaded
  std::string_view transform;  // whose call it was; empty at an instance's start
  LogLevel level = LogLevel::kInfo;
  std::string_view text;  // bytes of the guest: may hold anything
};
/// Called on the thread that runs the guest, several at a time: quick, and without waiting.
using LogSink = std::function<void(const LogLine&)>;

struct EngineOptions {
  size_t lanes = 2;  // threads that run guests: a core has one, and one more
  /// Where compiled modules are kept, by hash; empty: nowhere. What lies there is read only when
  /// its seal is ours (a key beside it, readable by us alone) and of this version.
  std::string cache_folder = {};
  /// Instances at one time, of all modules; each takes address space, memory only as it is used.
  size_t instances_max = 1000;
  /// Memory of instances that are kept for their next batch; more of it: those not used for longest
  /// end.
  size_t idle_memory_bytes = size_t{256} << 20;
  LogSink log = {};  // none: lines are dropped
};

/// Compiles guest modules and runs them: one a node (or a client). Any thread. Guests run on lanes,
/// threads of its own, or on the thread of a caller that is no shard's; never on a shard's.
/// Must outlive its chains.
class Engine {
 public:
  /// Cheap: the cache folder and what wasmtime needs are made for the first module. Errors:
  /// kInvalidArgument (no lane).
  static Result<std::unique_ptr<Engine>> start(io::Env& env, EngineOptions options);
  /// Waits for what runs; nobody may await a lane any more.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// The module of these bytes: the one that is loaded, the compiled one on the disk, or compiled
  /// now (some 50 ms for 30 KB, seconds for megabytes), checked against the ABI and started once to
  /// see that it does. Not on a shard.
  /// Errors: kInvalidArgument, saying what is wrong with the module and what to do; kIo, kDiskFull
  /// (the cache folder), kOutOfMemory (address space).
  Result<std::shared_ptr<Module>> load(std::string_view wasm);
  /// The same from a shard: done on the engine's compiling thread.
  io::Task<Result<std::shared_ptr<Module>>> load_in_background(std::string wasm);

  /// Those that somebody holds, by hash.
  std::vector<std::shared_ptr<Module>> modules() const;

  struct Impl;  // of the room
  const std::shared_ptr<Impl>& impl() const { return impl_; }

 private:
  explicit Engine(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace millrace::wasm

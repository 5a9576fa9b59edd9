#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "wasm/detail/instance.h"
#include "wasm/detail/lanes.h"
#include "wasm/detail/seal.h"
#include "wasm/detail/ticker.h"
#include "wasm/engine.h"

namespace millrace::wasm {

/// Instances of one use of a module (a slot of a chain) that are idle: the one used last goes
/// first, since its memory is warm. Under the engine's lock.
struct IdleInstances;

struct Engine::Impl {
  Impl(io::Env& of, EngineOptions given);
  ~Impl();

  // ---- modules (engine.cc)
  /// Makes wasmtime's engine, for the first module: a node without guests goes without its 5 MB.
  Result<> begin();
  Result<std::shared_ptr<Module>> load(std::string_view bytes);
  std::shared_ptr<Module> loaded(const std::string& hash) const;
  Result<std::shared_ptr<Module>> from_disk(const std::string& hash);
  Result<std::unique_ptr<Module::Impl>> compile(const std::string& hash, std::string_view bytes);
  /// So that a module whose start fails or never ends is refused now.
  Result<> try_start(const std::shared_ptr<Module>& module);
  void keep(const Module& module) const;
  /// Among those that are loaded; gives the one that another thread has loaded meanwhile.
  std::shared_ptr<Module> adopt(std::shared_ptr<Module> module, size_t bytes);

  // ---- instances (instances.cc)
  /// An idle instance of `use`, or nothing and the right to start one; end with release() or
  /// lost(). Errors: kOutOfMemory when all are in use.
  Result<std::unique_ptr<Instance>> take(IdleInstances& use);
  /// Back to the idle ones.
  void release(IdleInstances& use, std::unique_ptr<Instance> instance);
  /// An instance that was taken has ended, or could not be started.
  void lost();
  /// Drops the idle ones; nobody uses it any more.
  void close(IdleInstances& use);

  io::Env& env;
  const EngineOptions options;

  // Made by begin().
  std::mutex begin_mutex;
  WasmEngine engine;
  size_t instances_max = 0;
  std::optional<SealedFiles> cache;
  std::optional<Ticker> ticker;

  mutable std::mutex modules_mutex;
  std::map<std::string, std::weak_ptr<Module>> modules;
  std::mutex compile_mutex;  // one module is compiled at a time

  struct Idle {
    IdleInstances* use;
    std::unique_ptr<Instance> instance;
    size_t bytes;  // of its memory
  };
  /// Takes one out of the list. With the lock.
  std::unique_ptr<Instance> pull(std::list<Idle>::iterator at);
  std::mutex instances_mutex;
  std::list<Idle> idle;  // the one not used for longest first
  size_t idle_bytes = 0;
  size_t instances = 0;  // idle and in use

  Lanes compiling;  // one thread, of low priority
  Lanes lanes;      // last: ends first
};

struct IdleInstances {
  std::shared_ptr<Module> module;
  std::vector<std::list<Engine::Impl::Idle>::iterator> idle = {};
};

}  // namespace millrace::wasm

#include "wasm/engine.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <utility>

#include "base/logging.h"
#include "wasm/detail/code_size.h"
#include "wasm/detail/engine_impl.h"

namespace millrace::wasm {

namespace {

// Whatever changes compiled code: the library and our configuration of it.
constexpr std::string_view kVersion = "wasmtime " WASMTIME_VERSION ", millrace 1";
constexpr uint64_t kReservation = uint64_t{4} << 30;  // address space of a memory: no bounds checks
constexpr uint64_t kGuard = uint64_t{32} << 20;
constexpr size_t kStackBytes = size_t{1} << 20;
constexpr size_t kTablesEach = 4;
constexpr size_t kInstancesBeside = 16;

/// Address space that a pool of `count` memories takes can be had.
bool has_room(size_t count) {
  const size_t bytes = count * (kReservation + kGuard) + kGuard;
  void* at = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return false;
  munmap(at, bytes);
  return true;
}

WasmEngine make_engine(size_t instances) {
  wasm_config_t* config = wasm_config_new();
  wasmtime_config_epoch_interruption_set(config, true);
  wasmtime_config_max_wasm_stack_set(config, kStackBytes);
  wasmtime_config_parallel_compilation_set(config, false);  // it takes one core, in the background
  wasmtime_config_cranelift_nan_canonicalization_set(config, true);  // the same on any machine
  wasmtime_config_wasm_relaxed_simd_set(config, false);
  wasmtime_config_wasm_threads_set(config, false);
  wasmtime_config_wasm_memory64_set(config, false);
  wasmtime_config_wasm_multi_memory_set(config, false);
  wasmtime_config_wasm_component_model_set(config, false);
  wasmtime_config_wasm_gc_set(config, false);
  wasmtime_config_wasm_function_references_set(config, false);
  wasmtime_config_wasm_exceptions_set(config, false);
  wasmtime_config_wasm_stack_switching_set(config, false);
  wasmtime_config_memory_reservation_set(config, kReservation);
  wasmtime_config_memory_guard_size_set(config, kGuard);
  auto* pool = wasmtime_pooling_allocation_config_new();
  const auto count = static_cast<uint32_t>(instances);
  wasmtime_pooling_allocation_config_total_core_instances_set(pool, count);
  wasmtime_pooling_allocation_config_total_memories_set(pool, count);
  wasmtime_pooling_allocation_config_total_tables_set(pool, count * kTablesEach);
  wasmtime_pooling_allocation_config_max_tables_per_module_set(pool, kTablesEach);
  wasmtime_pooling_allocation_config_max_memories_per_module_set(pool, 1);
  wasmtime_pooling_allocation_config_max_memory_size_set(pool, Module::kMemoryBytesMax);
  wasmtime_pooling_allocation_strategy_set(config, pool);
  wasmtime_pooling_allocation_config_delete(pool);
  return WasmEngine(wasm_engine_new_with_config(config));
}

Error refused(const std::string& hash, const std::string& why) {
  return {ErrorCode::kInvalidArgument,
          fmt::format("module {} is refused: {}", hash.substr(0, 12), why)};
}

/// Of compiled code: what it exports and imports. Errors: as inspect() and bind_imports().
Result<std::unique_ptr<Module::Impl>> describe(wasm_engine_t& engine, const std::string& hash,
                                               WasmModule module) {
  auto made = std::make_unique<Module::Impl>();
  made->hash = hash;
  MR_TRY(inspect(*module, *made));
  MR_TRY(made->pre, bind_imports(engine, *module));
  made->module = std::move(module);
  return made;
}

}  // namespace

std::string_view to_string(LogLevel level) {
  constexpr std::string_view kNames[] = {"debug", "info", "warning", "error"};
  return kNames[static_cast<size_t>(level)];
}

Engine::Engine(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::start(io::Env& env, EngineOptions options) {
  if (options.lanes == 0) {
    return Error{ErrorCode::kInvalidArgument, "guest modules need a lane to run on"};
  }
  return std::unique_ptr<Engine>(new Engine(std::make_shared<Impl>(env, std::move(options))));
}

Result<std::shared_ptr<Module>> Engine::load(std::string_view wasm) {
  MR_CHECK(io::Shard::current() == nullptr);
  return impl_->load(wasm);
}

io::Task<Result<std::shared_ptr<Module>>> Engine::load_in_background(std::string wasm) {
  using Loaded = Result<std::shared_ptr<Module>>;
  io::Shard* origin = io::Shard::current();
  MR_CHECK(origin != nullptr);
  std::optional<Loaded> result;
  struct Suspend {
    Impl& impl;
    io::Shard& origin;
    const std::string& wasm;
    std::optional<Loaded>& out;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) {
      impl.compiling.add(std::make_shared<Lanes::Source>(), [this, h] {
        out.emplace(impl.load(wasm));
        origin.post([h] { h.resume(); });
      });
    }
    void await_resume() const noexcept {}
  };
  auto suspend = Suspend{*impl_, *origin, wasm, result};
  co_await suspend;
  co_return std::move(*result);
}

std::vector<std::shared_ptr<Module>> Engine::modules() const {
  std::vector<std::shared_ptr<Module>> alive;
  std::lock_guard lock(impl_->modules_mutex);
  for (const auto& [hash, weak] : impl_->modules) {
    if (auto module = weak.lock()) alive.push_back(std::move(module));
  }
  return alive;
}

Engine::Impl::Impl(io::Env& of, EngineOptions given)
    : env(of), options(std::move(given)), compiling(1), lanes(options.lanes) {
  // Compiling takes seconds of one core at worst; what serves goes first.
  compiling.add(std::make_shared<Lanes::Source>(), [] { setpriority(PRIO_PROCESS, 0, 10); });
}

Result<> Engine::Impl::begin() {
  std::lock_guard lock(begin_mutex);
  if (engine) return {};
  if (!options.cache_folder.empty() && !cache) {
    MR_TRY(auto opened, SealedFiles::open(env, options.cache_folder, std::string(kVersion)));
    cache = std::move(opened);
  }
  // A few more than may be: a module that is loaded is started once, and some are about to end.
  size_t count = options.instances_max + kInstancesBeside;
  while (count > kInstancesBeside && !has_room(count)) count /= 2;
  if (count <= kInstancesBeside) {
    return Error{ErrorCode::kOutOfMemory,
                 "no address space for guest modules: each takes 4 GiB of it (ulimit -v?)"};
  }
  instances_max = count - kInstancesBeside;
  engine = make_engine(count);
  ticker.emplace([this] { wasmtime_engine_increment_epoch(engine.get()); });
  return {};
}

Engine::Impl::~Impl() = default;

std::shared_ptr<Module> Engine::Impl::loaded(const std::string& hash) const {
  std::lock_guard lock(modules_mutex);
  const auto at = modules.find(hash);
  return at == modules.end() ? nullptr : at->second.lock();
}

Result<std::shared_ptr<Module>> Engine::Impl::load(std::string_view bytes) {
  if (bytes.size() > Module::kBytesMax) {
    return Error{
        ErrorCode::kInvalidArgument,
        fmt::format("the module has {} bytes, more than {} MiB; build it with -Os and strip it",
                    bytes.size(), Module::kBytesMax >> 20)};
  }
  MR_TRY(begin());
  const std::string hash = sha256(bytes);
  if (auto module = loaded(hash)) return module;
  if (auto kept = from_disk(hash)) return adopt(std::move(*kept), bytes.size());
  std::lock_guard lock(compile_mutex);
  if (auto module = loaded(hash)) return module;
  auto compiled = compile(hash, bytes);
  if (!compiled) return refused(hash, compiled.error().text);
  auto module = std::make_shared<Module>(std::move(*compiled));
  MR_TRY(try_start(module));
  keep(*module);
  return adopt(std::move(module), bytes.size());
}

Result<> Engine::Impl::try_start(const std::shared_ptr<Module>& module) {
  ticker->enter();
  const auto started =
      Instance::start(*engine, options.log, module, {.memory_bytes = Module::kMemoryBytesMax}, {});
  ticker->leave();
  if (!started) {
    return refused(module->hash(), "it does not start: " + started.error().text);
  }
  return {};
}

Result<std::shared_ptr<Module>> Engine::Impl::from_disk(const std::string& hash) {
  const Error none{ErrorCode::kNotFound, {}};
  if (!cache) return none;
  const auto bytes = cache->get(hash);
  if (!bytes) return none;
  wasmtime_module_t* module = nullptr;
  const WasmError error(wasmtime_module_deserialize(
      engine.get(), reinterpret_cast<const uint8_t*>(bytes->data()), bytes->size(), &module));
  if (error) return none;  // of another processor
  MR_TRY(auto made, describe(*engine, hash, WasmModule(module)));
  return std::make_shared<Module>(std::move(made));
}

Result<std::unique_ptr<Module::Impl>> Engine::Impl::compile(const std::string& hash,
                                                            std::string_view bytes) {
  if (!bytes.starts_with(std::string_view("\0asm", 4))) {
    return Error{ErrorCode::kInvalidArgument,
                 "these bytes are no WebAssembly module (they do not begin with \\0asm)"};
  }
  MR_TRY(check_code_size(bytes));
  wasmtime_module_t* module = nullptr;
  const WasmError error(wasmtime_module_new(
      engine.get(), reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), &module));
  if (error) return Error{ErrorCode::kInvalidArgument, text_of(*error)};
  return describe(*engine, hash, WasmModule(module));
}

void Engine::Impl::keep(const Module& module) const {
  if (!cache) return;
  wasm_byte_vec_t code;
  const WasmError failed(wasmtime_module_serialize(module.impl().module.get(), &code));
  if (failed) return;
  const auto kept = cache->put(module.hash(), std::string_view(code.data, code.size));
  wasm_byte_vec_delete(&code);
  if (!kept) {
    logging::warn("a compiled module was not kept",
                  {{"module", module.hash()}, {"error", kept.error().text}});
  }
}

std::shared_ptr<Module> Engine::Impl::adopt(std::shared_ptr<Module> made, size_t bytes) {
  made->impl().bytes = bytes;
  std::lock_guard lock(modules_mutex);
  std::erase_if(modules, [](const auto& entry) { return entry.second.expired(); });
  auto& known = modules[made->hash()];
  if (auto module = known.lock()) return module;
  known = made;
  return made;
}

}  // namespace millrace::wasm

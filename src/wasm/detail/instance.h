#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "wasm/detail/encoder.h"
#include "wasm/detail/module_impl.h"
#include "wasm/detail/wasmtime_api.h"
#include "wasm/engine.h"
#include "wasm/module.h"

namespace millrace::wasm {

/// One running module: its memory and globals. One thread at a time, whichever. After a call that
/// failed it is not called again. The text of its errors says what the guest did, for the caller to
/// say who it was.
class Instance {
 public:
  /// Begins a module: its start function and _initialize run. `place` for what it logs. Errors:
  /// kGuestFailed (it failed), kOutOfMemory (no room for one more).
  static Result<std::unique_ptr<Instance>> start(wasm_engine_t& engine, const LogSink& log,
                                                 std::shared_ptr<Module> module,
                                                 const Limits& limits, std::string place);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  /// What an export is, to be called often. The export must be a function: inspect() saw it.
  wasmtime_func_t function(const std::string& name);

  enum class Slice { kCall, kStart };
  /// Calls `function` with one number. `transform`: on whose behalf. Errors: kGuestFailed.
  Result<uint32_t> call(const wasmtime_func_t& function, uint32_t argument,
                        std::string_view transform, Slice slice = Slice::kCall);
  /// Copies a batch into room that the guest gives; its address. Errors: kGuestFailed.
  Result<uint32_t> put(const EncoderInput& input, const BatchLayout& layout,
                       std::string_view transform);
  std::span<const uint8_t> memory();

  /// What the guest said by millrace.fail in its last call; empty: nothing.
  const std::string& failure() const { return failure_; }
  const std::shared_ptr<Module>& module() const { return module_; }
  const Limits& limits() const { return limits_; }

  /// The functions that its user calls; kept here since they are of this instance.
  std::vector<wasmtime_func_t> functions;

  // What its imports do; see imports.cc.
  void log(LogLevel level, std::string_view text);
  void set_failure(std::string_view text) { failure_ = text; }
  /// The call ends as failed, for this reason.
  wasm_trap_t* end(std::string reason);
  uint64_t next_random();

 private:
  Instance(const LogSink& log, std::shared_ptr<Module> module, const Limits& limits,
           std::string place);
  Result<> instantiate(wasm_engine_t& engine);
  void begin(std::string_view transform, Slice slice);
  Error why(WasmError error, WasmTrap trap);
  static wasmtime_error_t* on_deadline(wasmtime_context_t* context, void* data, uint64_t* delta,
                                       wasmtime_update_deadline_kind_t* kind);

  const LogSink& log_;
  std::shared_ptr<Module> module_;
  Limits limits_;
  std::string place_;
  WasmStore store_;
  wasmtime_context_t* context_ = nullptr;
  wasmtime_instance_t instance_{};
  wasmtime_memory_t memory_{};
  wasmtime_func_t alloc_{};

  // Of the running call.
  std::string_view transform_;
  uint64_t cpu_from_ns_ = 0;
  uint64_t cpu_most_ns_ = 0;
  bool out_of_time_ = false;
  std::string ended_;  // why, when the host ended it
  std::string failure_;
  size_t lines_ = 0;
  uint64_t random_ = 0;
};

}  // namespace millrace::wasm

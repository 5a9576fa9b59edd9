#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "wasm/detail/wasmtime_api.h"
#include "wasm/module.h"

namespace millrace::wasm {

/// Counters as they are counted: by any thread.
struct Counting {
  std::atomic<uint64_t> batches = 0, failures = 0, records_in = 0, records_out = 0,
                        record_errors = 0, cpu_ns = 0, memory_bytes = 0, instances = 0;

  void memory(uint64_t bytes) {
    uint64_t largest = memory_bytes.load(std::memory_order_relaxed);
    while (largest < bytes && !memory_bytes.compare_exchange_weak(largest, bytes)) {
    }
  }
  Counters snapshot() const {
    return {.batches = batches,
            .failures = failures,
            .records_in = records_in,
            .records_out = records_out,
            .record_errors = record_errors,
            .cpu_ns = cpu_ns,
            .memory_bytes = memory_bytes,
            .instances = instances};
  }
};

struct Module::Impl {
  std::string hash;
  size_t bytes = 0;
  std::vector<Transform> transforms;
  bool has_initialize = false;
  WasmModule module;
  WasmPre pre;  // its imports are bound: what an instance begins with
  Counting counting;
  std::atomic<uint64_t> failures_in_row = 0;

  void succeeded() {
    if (failures_in_row.load(std::memory_order_relaxed) != 0) failures_in_row = 0;
  }
  bool paused() const { return failures_in_row.load(std::memory_order_relaxed) >= kFailuresMax; }
  /// For a message: the hash's beginning.
  std::string name() const { return "module " + hash.substr(0, 12); }
};

/// Reads what a module exports and imports, and says what of it is not as docs/guest-abi.md has it.
Result<> inspect(const wasmtime_module_t& module, Module::Impl& out);

/// Binds a module's imports: millrace.*, env.abort, and a WASI with nothing behind it. Errors:
/// kInvalidArgument, naming an import that is unknown.
Result<WasmPre> bind_imports(wasm_engine_t& engine, const wasmtime_module_t& module);

}  // namespace millrace::wasm

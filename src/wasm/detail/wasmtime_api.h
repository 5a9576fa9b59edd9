#pragma once

#include <wasmtime.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/frees.h"

namespace millrace::wasm {

/// Owners of what wasmtime's C interface gives out.
using WasmEngine = std::unique_ptr<wasm_engine_t, Frees<wasm_engine_delete>>;
using WasmModule = std::unique_ptr<wasmtime_module_t, Frees<wasmtime_module_delete>>;
using WasmLinker = std::unique_ptr<wasmtime_linker_t, Frees<wasmtime_linker_delete>>;
using WasmStore = std::unique_ptr<wasmtime_store_t, Frees<wasmtime_store_delete>>;
using WasmPre = std::unique_ptr<wasmtime_instance_pre_t, Frees<wasmtime_instance_pre_delete>>;
using WasmError = std::unique_ptr<wasmtime_error_t, Frees<wasmtime_error_delete>>;
using WasmTrap = std::unique_ptr<wasm_trap_t, Frees<wasm_trap_delete>>;

inline std::string_view view_of(const wasm_name_t* name) {
  return name ? std::string_view(name->data, name->size) : std::string_view();
}
/// The text of an error, on one line.
std::string text_of(const wasmtime_error_t& error);
/// What a trap was and in which function, for the one who wrote the module.
std::string text_of(const wasm_trap_t& trap);

}  // namespace millrace::wasm

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "wasm/detail/instance.h"

namespace millrace::wasm {

namespace {

constexpr size_t kReasonMax = 1024;
constexpr std::string_view kWasi = "wasi_snapshot_preview1";
// WASI's errno.
constexpr int32_t kSuccess = 0, kBadDescriptor = 8, kFault = 21, kNotCapable = 76;

/// A running host function: its arguments, and the guest that called. The result goes into the
/// first argument's place.
class Call {
 public:
  Call(wasmtime_caller_t* caller, wasmtime_val_raw_t* values)
      : caller_(caller), values_(values), context_(wasmtime_caller_context(caller)) {}

  Instance& guest() const { return *static_cast<Instance*>(wasmtime_context_get_data(context_)); }
  uint32_t argument(size_t i) const { return static_cast<uint32_t>(values_[i].i32); }
  wasm_trap_t* give(int32_t result) const {
    values_[0].i32 = result;
    return nullptr;
  }
  /// Bytes of the guest's memory; an empty pointer when they are not all in it.
  uint8_t* bytes(uint32_t at, uint64_t size) {
    if (!looked_) {
      looked_ = true;
      wasmtime_extern_t memory;  // asked for here: the start function runs before the host knows it
      if (wasmtime_caller_export_get(caller_, "memory", 6, &memory) &&
          memory.kind == WASMTIME_EXTERN_MEMORY) {
        memory_ = wasmtime_memory_data(context_, &memory.of.memory);
        size_ = wasmtime_memory_data_size(context_, &memory.of.memory);
      }
    }
    return memory_ && at + size <= size_ ? memory_ + at : nullptr;
  }
  /// A text, cut; what is outside the memory is told in its place.
  std::string_view text(uint32_t at, uint32_t size, size_t most) {
    const uint8_t* from = bytes(at, size);
    if (!from) return "(a text outside its memory)";
    return {reinterpret_cast<const char*>(from), std::min<size_t>(size, most)};
  }

 private:
  wasmtime_caller_t* caller_;
  wasmtime_val_raw_t* values_;
  wasmtime_context_t* context_;
  bool looked_ = false;
  uint8_t* memory_ = nullptr;
  size_t size_ = 0;
};

wasm_trap_t* log_line(Call call) {
  const auto level = static_cast<LogLevel>(std::min<uint32_t>(call.argument(0), 3));
  call.guest().log(level, call.text(call.argument(1), call.argument(2), SIZE_MAX));
  return nullptr;
}

wasm_trap_t* fail(Call call) {
  call.guest().set_failure(call.text(call.argument(0), call.argument(1), kReasonMax));
  return nullptr;
}

/// AssemblyScript's text: UTF-16, its size in bytes before it. Told as far as it is ASCII.
std::string assembly_script_text(Call& call, uint32_t at) {
  if (at < 4) return {};
  const uint8_t* size_at = call.bytes(at - 4, 4);
  if (!size_at) return {};
  uint32_t size;
  std::memcpy(&size, size_at, sizeof size);
  const uint8_t* from = call.bytes(at, size);
  std::string text;
  for (uint32_t i = 0; from && i + 1 < size && text.size() < kReasonMax; i += 2) {
    text += from[i + 1] == 0 && from[i] < 0x80 ? static_cast<char>(from[i]) : '?';
  }
  return text;
}

wasm_trap_t* abort_call(Call call) {
  return call.guest().end(
      fmt::format("it aborted: {} ({}:{})", assembly_script_text(call, call.argument(0)),
                  assembly_script_text(call, call.argument(1)), call.argument(2)));
}

wasm_trap_t* proc_exit(Call call) {
  return call.guest().end(fmt::format("it ended itself (exit code {})", call.argument(0)));
}

/// fd_write(fd, iovecs, count, written): standard output and error are log lines.
wasm_trap_t* fd_write(Call call) {
  const uint32_t descriptor = call.argument(0);
  if (descriptor != 1 && descriptor != 2) return call.give(kBadDescriptor);
  std::string line;
  uint64_t written = 0;
  const uint32_t count = std::min<uint32_t>(call.argument(2), 1024);
  for (uint32_t i = 0; i < count; ++i) {
    const uint8_t* vector = call.bytes(call.argument(1), 8 * uint64_t{i} + 8);
    if (!vector) return call.give(kFault);
    uint32_t at, size;
    std::memcpy(&at, vector + 8 * i, 4);
    std::memcpy(&size, vector + 8 * i + 4, 4);
    const uint8_t* from = call.bytes(at, size);
    if (!from) return call.give(kFault);
    line.append(reinterpret_cast<const char*>(from), std::min<size_t>(size, 4096));
    written += size;
  }
  uint8_t* to = call.bytes(call.argument(3), 4);
  if (!to) return call.give(kFault);
  const auto told = static_cast<uint32_t>(written);
  std::memcpy(to, &told, sizeof told);
  while (line.ends_with('\n')) line.pop_back();
  const auto level = descriptor == 1 ? LogLevel::kInfo : LogLevel::kWarning;
  if (!line.empty()) call.guest().log(level, line);
  return call.give(kSuccess);
}

wasm_trap_t* random_get(Call call) {
  const uint32_t size = call.argument(1);
  uint8_t* to = call.bytes(call.argument(0), size);
  if (!to) return call.give(kFault);
  for (uint32_t i = 0; i < size; i += 8) {
    const uint64_t random = call.guest().next_random();
    std::memcpy(to + i, &random, std::min<size_t>(size - i, sizeof random));
  }
  return call.give(kSuccess);
}

/// args_sizes_get, environ_sizes_get: none, of no bytes.
wasm_trap_t* no_strings(Call call) {
  for (const size_t i : {0, 1}) {
    uint8_t* to = call.bytes(call.argument(i), 4);
    if (!to) return call.give(kFault);
    std::memset(to, 0, 4);
  }
  return call.give(kSuccess);
}

wasm_trap_t* succeed(Call call) { return call.give(kSuccess); }
wasm_trap_t* bad_descriptor(Call call) { return call.give(kBadDescriptor); }
wasm_trap_t* not_capable(Call call) { return call.give(kNotCapable); }

using Function = wasm_trap_t* (*)(Call);

template <Function kFunction>
wasm_trap_t* enter(void*, wasmtime_caller_t* caller, wasmtime_val_raw_t* values, size_t) {
  return kFunction(Call(caller, values));
}

struct Known {
  std::string_view module, name;
  wasmtime_func_unchecked_callback_t callback;
  int params;  // all of them i32
  int results;
};

constexpr std::array kKnown = {
    Known{"millrace", "log", enter<log_line>, 3, 0},
    Known{"millrace", "fail", enter<fail>, 2, 0},
    Known{"env", "abort", enter<abort_call>, 4, 0},
    Known{kWasi, "proc_exit", enter<proc_exit>, 1, 0},
    Known{kWasi, "fd_write", enter<fd_write>, 4, 1},
    Known{kWasi, "random_get", enter<random_get>, 2, 1},
    Known{kWasi, "args_sizes_get", enter<no_strings>, 2, 1},
    Known{kWasi, "environ_sizes_get", enter<no_strings>, 2, 1},
    Known{kWasi, "args_get", enter<succeed>, 2, 1},
    Known{kWasi, "environ_get", enter<succeed>, 2, 1},
    Known{kWasi, "sched_yield", enter<succeed>, 0, 1},
};

// The rest of WASI looks at no parameter, whatever its types are.
constexpr std::array<std::string_view, 38> kWasiOthers = {"clock_res_get",
                                                          "clock_time_get",
                                                          "fd_advise",
                                                          "fd_allocate",
                                                          "fd_close",
                                                          "fd_datasync",
                                                          "fd_fdstat_get",
                                                          "fd_fdstat_set_flags",
                                                          "fd_fdstat_set_rights",
                                                          "fd_filestat_get",
                                                          "fd_filestat_set_size",
                                                          "fd_filestat_set_times",
                                                          "fd_pread",
                                                          "fd_prestat_get",
                                                          "fd_prestat_dir_name",
                                                          "fd_pwrite",
                                                          "fd_read",
                                                          "fd_readdir",
                                                          "fd_renumber",
                                                          "fd_seek",
                                                          "fd_sync",
                                                          "fd_tell",
                                                          "path_create_directory",
                                                          "path_filestat_get",
                                                          "path_filestat_set_times",
                                                          "path_link",
                                                          "path_open",
                                                          "path_readlink",
                                                          "path_remove_directory",
                                                          "path_rename",
                                                          "path_symlink",
                                                          "path_unlink_file",
                                                          "poll_oneoff",
                                                          "proc_raise",
                                                          "sock_shutdown",
                                                          "sock_accept",
                                                          "sock_recv",
                                                          "sock_send"};

/// Whether a function has `params` and `results` of i32.
bool has_type(const wasm_functype_t& type, int params, int results) {
  const auto same = [](const wasm_valtype_vec_t* list, int count) {
    if (list->size != static_cast<size_t>(count)) return false;
    for (size_t i = 0; i < list->size; ++i) {
      if (wasm_valtype_kind(list->data[i]) != WASM_I32) return false;
    }
    return true;
  };
  return same(wasm_functype_params(&type), params) && same(wasm_functype_results(&type), results);
}

Error unknown(std::string_view module, std::string_view name) {
  const bool ours = module == "millrace";
  return {
      ErrorCode::kInvalidArgument,
      fmt::format(
          "it imports {}.{}, which {}", module.substr(0, 100), name.substr(0, 100),
          ours ? "is not of the guest ABI 1 (millrace has log and fail)"
               : "nobody gives it: guests have WASI preview 1, millrace.log and millrace.fail")};
}

/// Adds one import to the linker. The same import twice is one.
Result<> bind(wasmtime_linker_t& linker, const wasm_importtype_t& import) {
  const auto module = view_of(wasm_importtype_module(&import));
  const auto name = view_of(wasm_importtype_name(&import));
  const auto* type = wasm_importtype_type(&import);
  if (wasm_externtype_kind(type) != WASM_EXTERN_FUNC) return unknown(module, name);
  const auto* function = wasm_externtype_as_functype_const(type);
  const auto known = std::ranges::find_if(
      kKnown, [&](const Known& k) { return k.module == module && k.name == name; });
  wasmtime_func_unchecked_callback_t callback = nullptr;
  if (known != kKnown.end()) {
    if (!has_type(*function, known->params, known->results)) {
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("it imports {}.{} as a function of another type", module, name)};
    }
    callback = known->callback;
  } else if (module == kWasi && std::ranges::find(kWasiOthers, name) != kWasiOthers.end()) {
    const auto* results = wasm_functype_results(function);
    if (results->size != 1 || wasm_valtype_kind(results->data[0]) != WASM_I32) {
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("it imports {}.{} as a function of another type", module, name)};
    }
    const bool descriptor =
        name.starts_with("fd_") || name.starts_with("path_") || name.starts_with("sock_");
    callback = descriptor ? enter<bad_descriptor> : enter<not_capable>;
  } else {
    return unknown(module, name);
  }
  const WasmError error(wasmtime_linker_define_func_unchecked(&linker, module.data(), module.size(),
                                                              name.data(), name.size(), function,
                                                              callback, nullptr, nullptr));
  if (error) return Error{ErrorCode::kInvalidArgument, text_of(*error)};
  return {};
}

}  // namespace

Result<WasmPre> bind_imports(wasm_engine_t& engine, const wasmtime_module_t& module) {
  const WasmLinker linker(wasmtime_linker_new(&engine));
  wasmtime_linker_allow_shadowing(linker.get(), true);
  wasm_importtype_vec_t imports;
  wasmtime_module_imports(&module, &imports);
  struct Owner {
    wasm_importtype_vec_t& list;
    ~Owner() { wasm_importtype_vec_delete(&list); }
  } owner{imports};
  for (size_t i = 0; i < imports.size; ++i) MR_TRY(bind(*linker, *imports.data[i]));
  wasmtime_instance_pre_t* pre = nullptr;
  const WasmError error(wasmtime_linker_instantiate_pre(linker.get(), &module, &pre));
  if (error) return Error{ErrorCode::kInvalidArgument, text_of(*error)};
  return WasmPre(pre);
}

}  // namespace millrace::wasm

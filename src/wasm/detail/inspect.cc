#include <fmt/format.h>

#include <algorithm>

#include "wasm/detail/module_impl.h"

namespace millrace::wasm {

namespace {

constexpr std::string_view kPrefix = "millrace__";
constexpr size_t kNameMax = 64;

Error refused(std::string what) { return {ErrorCode::kInvalidArgument, std::move(what)}; }

bool is_i32(const wasm_externtype_t* type, size_t params, size_t results) {
  if (wasm_externtype_kind(type) != WASM_EXTERN_FUNC) return false;
  const auto* function = wasm_externtype_as_functype_const(type);
  for (const auto& [list, count] : {std::pair(wasm_functype_params(function), params),
                                    std::pair(wasm_functype_results(function), results)}) {
    if (list->size != count) return false;
    for (size_t i = 0; i < count; ++i) {
      if (wasm_valtype_kind(list->data[i]) != WASM_I32) return false;
    }
  }
  return true;
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameMax && !name.contains("__") &&
         std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
         });
}

/// What the exports say, one after the other.
class Exports {
 public:
  Result<> add(std::string_view name, const wasm_externtype_t* type) {
    if (name == "memory") return memory(type);
    if (name == "_start") {
      return refused(
          "it is a program (_start); build it as a library: with clang -mexec-model=reactor, in "
          "Rust crate-type cdylib");
    }
    if (name == "_initialize") {
      has_initialize_ = true;
      if (!is_i32(type, 0, 0)) return refused("_initialize must be a function () -> ()");
    } else if (name == "millrace_alloc") {
      has_alloc_ = true;
      if (!is_i32(type, 1, 1)) return refused("millrace_alloc must be a function (i32) -> i32");
    } else if (name.starts_with("millrace_abi_")) {
      if (name != "millrace_abi_1") {
        return refused(fmt::format(
            "it speaks {} of the guest ABI and this is millrace_abi_1: build it with a fitting SDK",
            name));
      }
      has_abi_ = true;
    } else if (name.starts_with(kPrefix)) {
      return transform(name, type);
    }
    return {};
  }

  Result<> finish(Module::Impl& out) {
    if (!has_abi_) {
      return refused(
          "it is no Millrace module: it exports no millrace_abi_1; build it with an SDK "
          "(docs/guest-abi.md)");
    }
    if (!has_memory_) return refused("it exports no memory");
    if (!has_alloc_) return refused("it exports no millrace_alloc");
    if (transforms_.empty())
      return refused("it exports no transform (millrace__filter__NAME and so on)");
    for (const auto& [what, name] : extras_) {
      const auto at = std::ranges::find(transforms_, name, &Transform::name);
      if (at == transforms_.end()) {
        return refused(
            fmt::format("it exports millrace__{}__{}, and no transform {}", what, name, name));
      }
      (what == "init" ? at->has_init : at->has_look_back) = true;
    }
    std::ranges::sort(transforms_, {}, &Transform::name);
    out.transforms = std::move(transforms_);
    out.has_initialize = has_initialize_;
    return {};
  }

 private:
  Result<> memory(const wasm_externtype_t* type) {
    if (wasm_externtype_kind(type) != WASM_EXTERN_MEMORY)
      return refused("its export `memory` is no memory");
    const auto* memory = wasm_externtype_as_memorytype_const(type);
    if (wasmtime_memorytype_is64(memory))
      return refused("its memory has 64-bit addresses; build it for wasm32");
    const uint64_t bytes =
        wasmtime_memorytype_minimum(memory) * wasmtime_memorytype_page_size(memory);
    if (bytes > Module::kMemoryBytesMax) {
      return refused(fmt::format("it begins with {} MiB of memory; at most {} MiB are given",
                                 bytes >> 20, Module::kMemoryBytesMax >> 20));
    }
    has_memory_ = true;
    return {};
  }

  Result<> transform(std::string_view whole, const wasm_externtype_t* type) {
    const auto rest = whole.substr(kPrefix.size());
    const auto bar = rest.find("__");
    const auto what = rest.substr(0, bar);
    const auto name = bar == rest.npos ? std::string_view() : rest.substr(bar + 2);
    if (!is_name(name)) {
      return refused(
          fmt::format("its export {} has no name of a-z, 0-9 and _ (at most {}, without __)",
                      whole.substr(0, 200), kNameMax));
    }
    if (!is_i32(type, 1, 1))
      return refused(fmt::format("its export {} must be a function (i32) -> i32", whole));
    if (what == "init" || what == "look_back") {
      extras_.emplace_back(what, name);
      return {};
    }
    const auto kind = kind_of(what);
    if (!kind) {
      return refused(
          fmt::format("its export {} is of no kind; there are filter, map, filter_map, expand, "
                      "aggregate and scalar",
                      whole.substr(0, 200)));
    }
    if (std::ranges::find(transforms_, name, &Transform::name) != transforms_.end()) {
      return refused(fmt::format("it exports two transforms {}", name));
    }
    transforms_.push_back({.name = std::string(name), .kind = *kind});
    return {};
  }

  bool has_abi_ = false, has_memory_ = false, has_alloc_ = false, has_initialize_ = false;
  std::vector<Transform> transforms_;
  std::vector<std::pair<std::string, std::string>> extras_;  // init or look_back, and of which
};

}  // namespace

Result<> inspect(const wasmtime_module_t& module, Module::Impl& out) {
  wasm_exporttype_vec_t exports;
  wasmtime_module_exports(&module, &exports);
  struct Owner {
    wasm_exporttype_vec_t& list;
    ~Owner() { wasm_exporttype_vec_delete(&list); }
  } owner{exports};
  Exports found;
  for (size_t i = 0; i < exports.size; ++i) {
    MR_TRY(found.add(view_of(wasm_exporttype_name(exports.data[i])),
                     wasm_exporttype_type(exports.data[i])));
  }
  return found.finish(out);
}

}  // namespace millrace::wasm

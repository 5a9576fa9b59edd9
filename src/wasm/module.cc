#include "wasm/module.h"

#include <algorithm>
#include <array>
#include <utility>

#include "wasm/detail/module_impl.h"

namespace millrace::wasm {

namespace {
constexpr std::array<std::pair<Kind, std::string_view>, 6> kKinds = {
    {{Kind::kFilter, "filter"},
     {Kind::kMap, "map"},
     {Kind::kFilterMap, "filter_map"},
     {Kind::kExpand, "expand"},
     {Kind::kAggregate, "aggregate"},
     {Kind::kScalar, "scalar"}}};
}  // namespace

std::string_view to_string(Kind kind) { return kKinds[static_cast<size_t>(kind)].second; }

std::optional<Kind> kind_of(std::string_view name) {
  for (const auto& [kind, text] : kKinds) {
    if (text == name) return kind;
  }
  return std::nullopt;
}

Module::Module(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Module::~Module() = default;

const std::string& Module::hash() const { return impl_->hash; }
size_t Module::bytes() const { return impl_->bytes; }
const std::vector<Transform>& Module::transforms() const { return impl_->transforms; }

const Transform* Module::find(std::string_view name) const {
  const auto at = std::ranges::find(impl_->transforms, name, &Transform::name);
  return at == impl_->transforms.end() ? nullptr : &*at;
}

Counters Module::counters() const { return impl_->counting.snapshot(); }
bool Module::paused() const { return impl_->paused(); }
void Module::resume() { impl_->failures_in_row = 0; }

Result<std::string> assemble(std::string_view text) {
  wasm_byte_vec_t binary;
  const WasmError error(wasmtime_wat2wasm(text.data(), text.size(), &binary));
  if (error) return Error{ErrorCode::kSyntax, text_of(*error)};
  std::string bytes(binary.data, binary.size);
  wasm_byte_vec_delete(&binary);
  return bytes;
}

}  // namespace millrace::wasm

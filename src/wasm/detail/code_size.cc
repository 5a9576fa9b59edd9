#include "wasm/detail/code_size.h"

#include <fmt/format.h>

#include <cstdint>
#include <optional>

namespace millrace::wasm {

namespace {

constexpr uint32_t kFunctionsMax = 30'000;
constexpr uint32_t kFunctionBytesMax = uint32_t{512} << 10;
constexpr size_t kHeaderBytes = 8;
constexpr uint8_t kCodeSection = 10;

/// Bytes of a module, read from the front. Source: WebAssembly core specification, binary format.
class Bytes {
 public:
  explicit Bytes(std::string_view rest) : rest_(rest) {}

  bool empty() const { return rest_.empty(); }
  std::optional<uint8_t> byte() {
    if (rest_.empty()) return std::nullopt;
    const auto first = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return first;
  }
  /// LEB128, of 32 bits.
  std::optional<uint32_t> number() {
    uint32_t value = 0;
    for (int shift = 0; shift < 35; shift += 7) {
      const auto next = byte();
      if (!next) return std::nullopt;
      value |= static_cast<uint32_t>(*next & 0x7f) << shift;
      if (*next < 0x80) return value;
    }
    return std::nullopt;
  }
  std::optional<Bytes> take(uint32_t size) {
    if (size > rest_.size()) return std::nullopt;
    Bytes taken(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return taken;
  }

 private:
  std::string_view rest_;
};

Result<> check_code(Bytes code) {
  const auto count = code.number();
  if (!count) return {};
  if (*count > kFunctionsMax) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("it has {} functions, more than {}: leave out what it does not use",
                             *count, kFunctionsMax)};
  }
  for (uint32_t i = 0; i < *count; ++i) {
    const auto size = code.number();
    if (!size || !code.take(*size)) return {};
    if (*size > kFunctionBytesMax) {
      return Error{
          ErrorCode::kInvalidArgument,
          fmt::format("its function {} has {} bytes, more than {}: take it apart, or inline less",
                      i, *size, kFunctionBytesMax)};
    }
  }
  return {};
}

}  // namespace

Result<> check_code_size(std::string_view wasm) {
  if (wasm.size() < kHeaderBytes) return {};
  Bytes sections(wasm.substr(kHeaderBytes));
  while (!sections.empty()) {
    const auto id = sections.byte();
    const auto size = sections.number();
    if (!size) return {};
    const auto content = sections.take(*size);
    if (!content) return {};
    if (*id == kCodeSection) MR_TRY(check_code(*content));
  }
  return {};
}

}  // namespace millrace::wasm

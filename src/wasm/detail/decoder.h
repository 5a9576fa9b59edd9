#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "wasm/module.h"
#include "wasm/records.h"

namespace millrace::wasm {

/// What a result is held against.
struct ResultRules {
  Kind kind = Kind::kFilter;
  uint32_t inputs = 0;  // records that the call was given
  uint32_t states = 0;  // states that the call was given
  uint64_t bytes_max = 0;
  uint64_t records_max = 0;
};

/// An error of one input, as a guest told it.
struct GuestError {
  uint32_t input = 0;
  std::string_view message;  // cut to what a person reads
};

/// A checked result. Views lie in the guest's memory. The vectors only grow, so that nothing is
/// allocated once they are large enough: `count` says how many of `records` are of this result.
struct Decoded {
  size_t count = 0;
  uint64_t bytes = 0;  // keys, values and headers
  std::vector<RecordView> records;
  std::vector<HeaderView> headers;
  std::vector<GuestError> errors;
  std::vector<std::optional<std::string_view>> states;  // values, by index
};

/// Reads the result batch at `address` of a guest's memory, which may hold anything: nothing is
/// used before it is checked. Errors: kGuestFailed, saying what is malformed and where.
Result<> decode(std::span<const uint8_t> memory, uint32_t address, const ResultRules& rules,
                Decoded& out);

}  // namespace millrace::wasm

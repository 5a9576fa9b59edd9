#pragma once

#include <cstdint>
#include <span>

#include "wasm/records.h"

namespace millrace::wasm {

/// What one batch needs of a guest's memory, found in a first look at it.
struct BatchLayout {
  uint64_t header_count = 0;
  uint64_t state_bytes = 0;
  uint64_t loose_bytes = 0;    // of records, copied one by one
  bool whole = false;          // Batch::bytes is copied in one go
  uint64_t content_bytes = 0;  // keys, values and headers: what the output is measured by
  uint64_t total = 0;          // of everything
};

/// `state_of`: for an aggregate, the index in `states` of each record; otherwise empty.
struct EncoderInput {
  const Batch& batch;
  std::span<const StateView> states = {};
  std::span<const uint32_t> state_of = {};
};

BatchLayout lay_out(const EncoderInput& input);

/// Writes the batch to `memory` at `address` (8-aligned), where layout.total bytes are free. The
/// result is the address of its head, which is `address`.
void encode(const EncoderInput& input, const BatchLayout& layout, uint8_t* memory,
            uint32_t address);

}  // namespace millrace::wasm

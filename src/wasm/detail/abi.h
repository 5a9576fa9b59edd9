#pragma once

#include <cstdint>

/// The structures of docs/guest-abi.md as they stand in a guest's memory, little-endian as this
/// machine.
namespace millrace::wasm::abi {

inline constexpr uint32_t kVersion = 1;
inline constexpr int32_t kAbsent = -1;

struct Batch {
  uint32_t version;
  uint32_t count, records_at;
  uint32_t error_count, errors_at;
  uint32_t state_count, states_at;
  uint32_t reserved[3];
};
static_assert(sizeof(Batch) == 40);

struct Record {
  int64_t timestamp_ms;
  int64_t offset;
  uint32_t key_at;
  int32_t key_size;
  uint32_t value_at;
  int32_t value_size;
  uint32_t headers_at, header_count;
  uint32_t input;
  uint32_t state;
};
static_assert(sizeof(Record) == 48 && alignof(Record) == 8);

struct Header {
  uint32_t name_at, name_size;
  uint32_t value_at;
  int32_t value_size;
};
static_assert(sizeof(Header) == 16);

struct RowError {
  uint32_t input;
  uint32_t message_at, message_size;
};
static_assert(sizeof(RowError) == 12);

struct State {
  uint32_t key_at;
  int32_t key_size;
  uint32_t value_at;
  int32_t value_size;
};
static_assert(sizeof(State) == 16);

}  // namespace millrace::wasm::abi

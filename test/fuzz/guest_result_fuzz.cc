// The decoder of what guests give back: any memory, any address, any kind.

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "test/fuzz/seeds.h"
#include "wasm/detail/abi.h"
#include "wasm/detail/decoder.h"

namespace {
using namespace millrace;

// The input: kind, inputs, states, address (two bytes), then the guest's memory.
constexpr size_t kHead = 5;

std::string memory_of(uint32_t records, uint32_t errors) {
  std::string memory(1024, '\0');
  const auto put = [&](size_t at, const auto& thing) {
    std::memcpy(memory.data() + at, &thing, sizeof thing);
  };
  put(64, wasm::abi::Batch{.version = 1,
                           .count = records,
                           .records_at = 128,
                           .error_count = errors,
                           .errors_at = 512,
                           .state_count = 2,
                           .states_at = 640,
                           .reserved = {}});
  for (uint32_t i = 0; i < records; ++i) {
    put(128 + i * sizeof(wasm::abi::Record), wasm::abi::Record{.timestamp_ms = i,
                                                               .offset = -1,
                                                               .key_at = 900,
                                                               .key_size = i % 2 ? 3 : -1,
                                                               .value_at = 910,
                                                               .value_size = 20,
                                                               .headers_at = 700,
                                                               .header_count = 2,
                                                               .input = i,
                                                               .state = 0});
  }
  for (uint32_t i = 0; i < errors; ++i) {
    put(512 + i * sizeof(wasm::abi::RowError),
        wasm::abi::RowError{.input = records + i, .message_at = 930, .message_size = 10});
  }
  for (uint32_t i = 0; i < 2; ++i) {
    put(640 + i * sizeof(wasm::abi::State),
        wasm::abi::State{.key_at = 0, .key_size = -1, .value_at = 900, .value_size = 9});
    put(700 + i * sizeof(wasm::abi::Header),
        wasm::abi::Header{.name_at = 940, .name_size = 4, .value_at = 950, .value_size = -1});
  }
  return memory;
}

size_t walk(std::string_view text) {
  size_t sum = text.size();
  for (const char c : text) sum += static_cast<uint8_t>(c);
  return sum;
}
}  // namespace

std::vector<std::string> fuzz_seeds() {
  std::vector<std::string> seeds;
  for (char kind = 0; kind < 6; ++kind) {
    const std::string memory = memory_of(5, 3);
    seeds.push_back(std::string({kind, 8, 2, 64, 0}) + memory);
    seeds.push_back(std::string({kind, 5, 2, 64, 0}) + memory_of(5, 0));
  }
  return seeds;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < kHead) return 0;
  const wasm::ResultRules rules{.kind = static_cast<wasm::Kind>(data[0] % 6),
                                .inputs = data[1],
                                .states = data[2],
                                .bytes_max = 4096,
                                .records_max = 64};
  const uint32_t address = data[3] | data[4] << 8;
  // A copy of its own, so that a read past its end is seen; 8-aligned as a guest's memory is.
  std::vector<uint64_t> aligned((size - kHead) / 8);
  const size_t bytes = aligned.size() * 8;
  if (bytes > 0) std::memcpy(aligned.data(), data + kHead, bytes);
  static wasm::Decoded decoded;  // used again, as a chain does
  if (!wasm::decode({reinterpret_cast<const uint8_t*>(aligned.data()), bytes}, address, rules,
                    decoded))
    return 0;
  size_t sum = 0;
  size_t told = 0;
  if (decoded.count > rules.records_max || decoded.errors.size() > rules.inputs) __builtin_trap();
  for (size_t i = 0; i < decoded.count; ++i) {
    const auto& record = decoded.records[i];
    if (record.input >= rules.inputs) __builtin_trap();
    for (const auto& text : {record.key, record.value}) {
      if (text) sum += walk(*text);
      told += text ? text->size() : 0;
    }
    for (const auto& header : record.headers) {
      sum += walk(header.name) + (header.value ? walk(*header.value) : 0);
    }
  }
  if (told > rules.bytes_max) __builtin_trap();
  for (const auto& error : decoded.errors) sum += walk(error.message);
  for (const auto& state : decoded.states) sum += state ? walk(*state) : 0;
  const bool each = rules.kind == wasm::Kind::kMap || rules.kind == wasm::Kind::kScalar;
  if (each && decoded.count + decoded.errors.size() != rules.inputs) __builtin_trap();
  asm volatile("" : : "r"(sum));  // the bytes are read, whatever the optimizer thinks
  return 0;
}

#include "wasm/detail/grouping.h"

#include <xxhash.h>

#include <bit>

namespace millrace::wasm {

void Grouping::group(std::span<const RecordView> records) {
  states.clear();
  state_of.clear();
  const size_t mask = std::bit_ceil(2 * records.size() + 1) - 1;
  table_.assign(mask + 1, 0);
  for (const auto& record : records) {
    const uint64_t hash =
        record.key ? XXH3_64bits_withSeed(record.key->data(), record.key->size(), seed_) : 0;
    size_t at = hash & mask;
    while (table_[at] != 0 && states[table_[at] - 1].key != record.key) at = (at + 1) & mask;
    if (table_[at] == 0) {
      states.push_back({.key = record.key, .value = std::nullopt});
      table_[at] = static_cast<uint32_t>(states.size());
    }
    state_of.push_back(table_[at] - 1);
  }
}

}  // namespace millrace::wasm

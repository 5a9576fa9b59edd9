#pragma once

#include <cstdint>
#include <vector>

#include "wasm/records.h"

namespace millrace::connect {

/// Records on their way between a system and a topic. Who filled it says how long the views live.
struct Records {
  std::vector<wasm::RecordView> records;
  std::vector<int32_t> partitions;  // of each: where it was read; -1: nowhere in particular
  size_t bytes = 0;                 // of keys and values

  void add(const wasm::RecordView& record, int32_t partition) {
    records.push_back(record);
    records.back().input = static_cast<uint32_t>(records.size() - 1);
    partitions.push_back(partition);
    bytes += record.key.value_or("").size() + record.value.value_or("").size();
  }
  void clear() {
    records.clear();
    partitions.clear();
    bytes = 0;
  }
};

}  // namespace millrace::connect

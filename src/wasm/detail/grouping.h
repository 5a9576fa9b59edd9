#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "wasm/records.h"

namespace millrace::wasm {

/// Groups the records of a batch by key, for an aggregate. Its vectors only grow.
class Grouping {
 public:
  /// `seed`: so that who writes keys cannot choose those that collide.
  explicit Grouping(uint64_t seed) : seed_(seed) {}

  void group(std::span<const RecordView> records);
  /// One for each distinct key, in the order of their first records; values are the caller's to
  /// fill.
  std::vector<StateView> states;
  /// The index in `states` of each record.
  std::vector<uint32_t> state_of;

 private:
  const uint64_t seed_;
  std::vector<uint32_t> table_;  // open addressing; index in states + 1
};

}  // namespace millrace::wasm

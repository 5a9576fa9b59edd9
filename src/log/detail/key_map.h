#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace millrace::log::detail {

/// Keys to their last offset, in bounded memory: of a key only 128 bits of hash are kept (XXH3 with
/// a seed that nobody outside knows), so that 24 bytes hold an entry and two keys of a log never
/// meet. Open addressing, grown by doubling up to `keys_max` entries.
class KeyMap {
 public:
  KeyMap(uint64_t seed, size_t keys_max) : seed_(seed), keys_max_(keys_max) {}

  /// Whether `more` keys fit. An empty map takes any number, so that there is always progress.
  bool has_room(size_t more) const { return count_ == 0 || count_ + more <= keys_max_; }
  /// `offset` must be larger than the key's before.
  void put(std::string_view key, Offset offset);
  std::optional<Offset> find(std::string_view key) const;
  size_t size() const { return count_; }

 private:
  struct Slot {
    uint64_t low = 0;
    uint64_t high = 0;
    Offset offset = -1;  // nothing
  };
  Slot hash(std::string_view key) const;
  /// Where `wanted` stands, or may stand.
  size_t place(const Slot& wanted) const;
  void grow();

  uint64_t seed_;
  size_t keys_max_;
  size_t count_ = 0;
  std::vector<Slot> slots_;
};

}  // namespace millrace::log::detail

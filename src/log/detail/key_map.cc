#include "log/detail/key_map.h"

#include <xxhash.h>

namespace millrace::log::detail {

namespace {
constexpr size_t kFirstSlots = 1024;
}  // namespace

KeyMap::Slot KeyMap::hash(std::string_view key) const {
  const auto hash = XXH3_128bits_withSeed(key.data(), key.size(), seed_);
  return {hash.low64, hash.high64, -1};
}

size_t KeyMap::place(const Slot& wanted) const {
  const size_t mask = slots_.size() - 1;
  size_t at = wanted.low & mask;
  while (slots_[at].offset >= 0 &&
         (slots_[at].low != wanted.low || slots_[at].high != wanted.high)) {
    at = (at + 1) & mask;
  }
  return at;
}

void KeyMap::grow() {
  std::vector<Slot> before(slots_.empty() ? kFirstSlots : slots_.size() * 2);
  before.swap(slots_);
  for (const auto& slot : before) {
    if (slot.offset >= 0) slots_[place(slot)] = slot;
  }
}

void KeyMap::put(std::string_view key, Offset offset) {
  if ((count_ + 1) * 4 > slots_.size() * 3) grow();
  auto slot = hash(key);
  slot.offset = offset;
  const size_t at = place(slot);
  if (slots_[at].offset < 0) ++count_;
  slots_[at] = slot;
}

std::optional<Offset> KeyMap::find(std::string_view key) const {
  if (slots_.empty()) return std::nullopt;
  const Offset offset = slots_[place(hash(key))].offset;
  return offset < 0 ? std::nullopt : std::optional<Offset>(offset);
}

}  // namespace millrace::log::detail

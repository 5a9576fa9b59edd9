#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>

#include "flow/detail/slab.h"
#include "flow/detail/state_memory.h"

namespace millrace::flow {

/// Entries by hash, in one array of the view's memory, which may be on disk. They lie about in the
/// order of their hashes, so that a larger array is filled in one pass from front to back, and
/// nothing is looked at but the entries: what they stand for may be on disk too.
///
/// `Entry`: place() is the hash, all 32 bits of it well mixed; is_empty() is true of zero bytes.
template <typename Entry>
  requires std::is_trivially_copyable_v<Entry>
class FlatTable {
 public:
  explicit FlatTable(std::shared_ptr<StateMemory> memory = StateMemory::current())
      : memory_(std::move(memory)) {}
  FlatTable(const FlatTable&) = delete;
  ~FlatTable() { memory_->give_back(entries_, capacity_ * sizeof(Entry)); }

  /// The entry with this hash that `is_it`; null: there is none. Good until the next insert() or
  /// erase().
  template <typename F>
  Entry* find(uint32_t place, F&& is_it) const {
    if (size_ == 0) return nullptr;
    for (size_t at = home(place); !entries_[at].is_empty(); at = next(at))
      if (entries_[at].place() == place && is_it(entries_[at])) return &entries_[at];
    return nullptr;
  }
  /// What find() will look at first, on its way into the cache. Many lookups in a row wait for
  /// memory together that way, instead of one after the other.
  void warm(uint32_t place) const {
    if (size_ > 0) __builtin_prefetch(entries_ + home(place));
  }
  /// The entry that find() will look at first, if it has this hash.
  const Entry* first_at(uint32_t place) const {
    if (size_ == 0) return nullptr;
    const Entry& entry = entries_[home(place)];
    return entry.place() == place && !entry.is_empty() ? &entry : nullptr;
  }
  /// One that is not there yet.
  Entry* insert(const Entry& entry) {
    if ((size_ + 1) * 5 > capacity_ * 4) grow();
    ++size_;
    return put(entry);
  }
  void erase(Entry* gone) {
    auto hole = static_cast<size_t>(gone - entries_);
    for (size_t at = next(hole); !entries_[at].is_empty(); at = next(at)) {
      const size_t from = home(entries_[at].place());
      // It may move to the hole unless it would then stand before its home.
      const bool stays = hole <= at ? hole < from && from <= at : hole < from || from <= at;
      if (stays) continue;
      entries_[hole] = entries_[at];
      hole = at;
    }
    entries_[hole] = Entry{};
    --size_;
  }
  template <typename F>
  void each(F&& f) const {
    for (size_t at = 0; at < capacity_; ++at)
      if (!entries_[at].is_empty()) f(entries_[at]);
  }
  size_t size() const { return size_; }
  size_t memory_bytes() const { return capacity_ * sizeof(Entry); }

 private:
  static constexpr size_t kFirst = 16;

  size_t home(uint32_t place) const { return uint64_t{place} * capacity_ >> 32; }
  size_t next(size_t at) const { return at + 1 == capacity_ ? 0 : at + 1; }
  Entry* put(const Entry& entry) {
    size_t at = home(entry.place());
    while (!entries_[at].is_empty()) at = next(at);
    entries_[at] = entry;
    return &entries_[at];
  }
  void grow() {
    const size_t before = capacity_;
    Entry* old = entries_;
    capacity_ = std::max(kFirst, capacity_ + capacity_ / 2);
    entries_ = static_cast<Entry*>(memory_->borrow(capacity_ * sizeof(Entry)));
    std::memset(static_cast<void*>(entries_), 0, capacity_ * sizeof(Entry));
    for (size_t at = 0; at < before; ++at)
      if (!old[at].is_empty()) put(old[at]);
    memory_->give_back(old, before * sizeof(Entry));
  }

  const std::shared_ptr<StateMemory> memory_;
  Entry* entries_ = nullptr;
  size_t capacity_ = 0;
  size_t size_ = 0;
};

/// A piece of a slab, by a hash.
struct PieceEntry {
  uint32_t hash = 0;
  Slab::Handle piece = 0;

  uint32_t place() const { return hash; }
  bool is_empty() const { return piece == 0; }
  /// Of a hash of which some bits may be alike in all entries: shares divide rows by them.
  static uint32_t place_of(uint64_t hash) {
    return static_cast<uint32_t>(hash * 0x9e3779b97f4a7c15ull >> 32);
  }
};
using PieceTable = FlatTable<PieceEntry>;

// Before which row, of those that are looked up one after the other, what is warmed: the place in
// the table, then what stands there.
inline constexpr size_t kWarmPlace = 16, kWarmPiece = 8, kWarmBehind = 4;

}  // namespace millrace::flow

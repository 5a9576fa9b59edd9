#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string_view>

#include "flow/detail/flat_table.h"
#include "flow/detail/frozen_slab.h"

namespace millrace::flow {

uint64_t hash_bytes(std::string_view bytes);

/// Rows by key, each with a weight: what an operator remembers of an input. Rows of a key stand in
/// the order in which they came. While an epoch is under way a weight may be negative.
class Arrangement {
 public:
  struct Key;
  /// What an operator counts of a row, when it asked for that.
  struct Counts {
    int64_t matches = 0;  // rows of the other side that join it
    int64_t emitted = 0;  // the weight with which it stands in the output
  };
  /// Behind it in memory: its Counts, if it has them; its bytes. There are many: links are handles.
  struct Row {
    Slab::Handle next = 0;  // of the same key
    Slab::Handle previous = 0;
    Slab::Handle key = 0;
    uint32_t hash = 0;  // of key and row; unused when append-only
    int64_t weight = 0;
    uint64_t number = 0;  // rows of a key stand in this order
    uint32_t size : 28 = 0;
    uint32_t mark : 2 = 0;         // for the operator
    uint32_t touched : 1 = false;  // for the operator: listed as touched in this epoch
    uint32_t counted : 1 = false;

    Counts& counts() { return *reinterpret_cast<Counts*>(this + 1); }
    const Counts& counts() const { return *reinterpret_cast<const Counts*>(this + 1); }
    char* bytes() { return reinterpret_cast<char*>(this) + head_bytes(counted); }
    std::string_view view() const {
      return {reinterpret_cast<const char*>(this) + head_bytes(counted), size};
    }
    static constexpr size_t head_bytes(bool counted) { return counted ? 56 : 36; }
  };
  static_assert(sizeof(Row) == 40 && sizeof(Counts) == 16);
  struct Added {
    Row& row;
    bool fresh;  // it was not there before, not even with weight 0
  };
  struct Key {
    Slab::Handle first = 0;
    Slab::Handle last = 0;
    uint32_t hash = 0;
    uint32_t size : 31 = 0;
    uint32_t mixed_up : 1 = false;  // while loading: rows do not stand in order yet

    char* bytes() { return reinterpret_cast<char*>(this + 1); }
    std::string_view view() const { return {reinterpret_cast<const char*>(this + 1), size}; }
  };

  /// `append_only`: weights are positive, and equal rows are kept apart, which saves an index.
  /// `counted`: rows have Counts.
  Arrangement(bool append_only, bool counted) : append_only_(append_only), counted_(counted) {}

  /// Null when no row has this key. `hash` is hash_bytes(key).
  Key* find(std::string_view key, uint64_t hash);
  Key& find_or_add(std::string_view key, uint64_t hash);
  /// Before the row `at` of a chunk with these hashes of keys is looked up: warms what later ones
  /// will touch.
  void warm(std::span<const uint64_t> hashes, size_t at) const {
    if (at + kWarmPlace < hashes.size()) keys_.warm(PieceEntry::place_of(hashes[at + kWarmPlace]));
    if (at + kWarmPiece < hashes.size())
      if (const auto* entry = keys_.first_at(PieceEntry::place_of(hashes[at + kWarmPiece])))
        __builtin_prefetch(&key_at(*entry));
    if (at + kWarmBehind < hashes.size())
      if (const auto* entry = keys_.first_at(PieceEntry::place_of(hashes[at + kWarmBehind]))) {
        const Key& key = key_at(*entry);
        key_slab_.warm(&key);
        if (const Row* last = row_at(key.last)) __builtin_prefetch(last);
      }
  }
  /// The same before the row `at` of those is removed with its key.
  void warm(std::span<Row* const> rows, size_t at) const {
    if (at + kWarmPlace < rows.size()) __builtin_prefetch(rows[at + kWarmPlace]);
    if (at + kWarmPiece < rows.size()) __builtin_prefetch(&key_of(*rows[at + kWarmPiece]));
    if (at + kWarmBehind < rows.size()) keys_.warm(key_of(*rows[at + kWarmBehind]).hash);
  }
  /// The rows of a key: null at the end.
  Row* first(const Key& key) const { return row_at(key.first); }
  Row* next(const Row& row) const { return row_at(row.next); }
  Key& key_of(const Row& row) const { return *static_cast<Key*>(key_slab_.at(row.key)); }
  /// To be called before anything of the row is changed from outside, `touched` apart.
  void before_change(Row& row) {
    if (auto* out = frozen_.thaw(&row)) save(row, 0, *out);
  }
  /// Adds `weight` to the row. A row that comes to weight 0 stays until the caller removes it.
  Added add(Key& key, std::string_view row, int64_t weight);
  void remove(Row& row);
  /// Forgets a key that has no rows.
  void remove(Key& key);
  size_t rows() const { return rows_; }
  size_t memory_bytes() const;
  /// Freezes all rows with what the operator keeps beside them, as Operator's.
  void freeze();
  bool save_some(StateWriter& out, size_t bytes);
  /// Into an empty arrangement; `hash_bytes` of a key must be its hash.
  void load(StateReader& in);
  /// For owners whose keys are not to be saved as they are: `name_of` is saved, and `key_of` gives
  /// the key of that name, which it makes if need be; null, when there is no such name.
  void name_keys(std::function<std::string_view(const Key&)> name_of) { name_of_ = name_of; }
  void load(StateReader& in, const std::function<Key*(std::string_view)>& key_of);
  /// Calls f(Row&) for every row.
  template <typename F>
  void each_row(F&& f) {
    keys_.each([&](const PieceEntry& entry) {
      for (Row* row = first(key_at(entry)); row; row = next(*row)) f(*row);
    });
  }

 private:
  Row* row_at(Slab::Handle row) const {
    return row == 0 ? nullptr : static_cast<Row*>(slab_.at(row));
  }
  Key& key_at(const PieceEntry& entry) const {
    return *static_cast<Key*>(key_slab_.at(entry.piece));
  }
  uint32_t hash_of(const Key& key, std::string_view row) const;
  Row& append(Key& key, std::string_view row, int64_t weight, uint32_t hash);
  /// `last`: the key of the row that was saved before it; 0: not known.
  void save(const Row& row, Slab::Handle last, StateWriter& out) const;
  void put_in_order(Key& key);

  const bool append_only_, counted_;
  Slab key_slab_, slab_;  // of rows
  FrozenSlab frozen_{slab_};
  bool began_ = true;  // to save what is frozen
  uint64_t next_number_ = 0;
  std::function<std::string_view(const Key&)> name_of_;
  PieceTable keys_;
  PieceTable index_;  // of rows, unless append-only
  size_t rows_ = 0;
};

}  // namespace millrace::flow

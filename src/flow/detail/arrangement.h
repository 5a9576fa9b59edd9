#pragma once

#include <boost/unordered/unordered_flat_set.hpp>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string_view>

#include "flow/detail/frozen_slab.h"

namespace millrace::flow {

uint64_t hash_bytes(std::string_view bytes);

/// Rows by key, each with a weight: what an operator remembers of an input. Rows of a key stand in
/// the order in which they came. While an epoch is under way a weight may be negative.
class Arrangement {
 public:
  struct Key;
  struct Row {
    Row* next = nullptr;  // of the same key
    Row* previous = nullptr;
    Key* key = nullptr;
    int64_t weight = 0;
    int64_t matches = 0;  // for the operator: rows of the other side that join it
    int64_t emitted = 0;  // for the operator: the weight with which it stands in the output
    uint64_t number = 0;  // rows of a key stand in this order
    uint32_t hash = 0;    // of key and row; unused when append-only
    uint32_t size : 29 = 0;
    uint32_t mark : 2 = 0;         // for the operator
    uint32_t touched : 1 = false;  // for the operator: listed as touched in this epoch

    char* bytes() { return reinterpret_cast<char*>(this + 1); }
    std::string_view view() const { return {reinterpret_cast<const char*>(this + 1), size}; }
  };
  struct Added {
    Row& row;
    bool fresh;  // it was not there before, not even with weight 0
  };
  struct Key {
    Row* first = nullptr;
    Row* last = nullptr;
    uint64_t hash = 0;
    int64_t weight = 0;  // of all its rows
    uint32_t size = 0;
    bool mixed_up = false;  // while loading: rows do not stand in order yet

    char* bytes() { return reinterpret_cast<char*>(this + 1); }
    std::string_view view() const { return {reinterpret_cast<const char*>(this + 1), size}; }
  };

  /// `append_only`: weights are positive, and equal rows are kept apart, which saves an index.
  explicit Arrangement(bool append_only) : append_only_(append_only) {}

  /// Null when no row has this key. `hash` is hash_bytes(key).
  Key* find(std::string_view key, uint64_t hash);
  Key& find_or_add(std::string_view key, uint64_t hash);
  /// To be called before anything of the row is changed from outside, `touched` apart.
  void before_change(Row& row) {
    if (auto* out = frozen_.thaw(&row)) save(row, nullptr, *out);
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
    for (Key* key : keys_)
      for (Row* row = key->first; row; row = row->next) f(*row);
  }

 private:
  struct Probe {
    std::string_view bytes;
    uint64_t hash;
    const Key* key;  // of a row
  };
  struct KeyHash {
    using is_transparent = void;
    using is_avalanching = void;
    size_t operator()(const Key* k) const { return k->hash; }
    size_t operator()(const Probe& p) const { return p.hash; }
  };
  struct KeyEqual {
    using is_transparent = void;
    bool operator()(const Key* a, const Key* b) const { return a == b; }
    bool operator()(const Probe& p, Key* k) const {
      return p.hash == k->hash && p.bytes == k->view();
    }
    bool operator()(Key* k, const Probe& p) const { return (*this)(p, k); }
  };
  struct RowHash {
    using is_transparent = void;
    using is_avalanching = void;
    size_t operator()(const Row* r) const { return spread(r->hash); }
    size_t operator()(const Probe& p) const { return spread(static_cast<uint32_t>(p.hash)); }
    static size_t spread(uint32_t hash) { return hash * 0x9e3779b97f4a7c15ull; }
  };
  struct RowEqual {
    using is_transparent = void;
    bool operator()(const Row* a, const Row* b) const { return a == b; }
    bool operator()(const Probe& p, Row* r) const {
      return static_cast<uint32_t>(p.hash) == r->hash && p.key == r->key && p.bytes == r->view();
    }
    bool operator()(Row* r, const Probe& p) const { return (*this)(p, r); }
  };

  uint64_t hash_of(const Key& key, std::string_view row) const;
  Row& append(Key& key, std::string_view row, int64_t weight, uint64_t hash);
  /// `last`: the key of the row that was saved before it; null: not known.
  void save(const Row& row, const Key* last, StateWriter& out) const;
  static void put_in_order(Key& key);

  bool append_only_;
  Slab key_slab_, slab_;  // of rows
  FrozenSlab frozen_{slab_};
  bool began_ = true;  // to save what is frozen
  uint64_t next_number_ = 0;
  std::function<std::string_view(const Key&)> name_of_;
  boost::unordered_flat_set<Key*, KeyHash, KeyEqual> keys_;
  boost::unordered_flat_set<Row*, RowHash, RowEqual> index_;
  size_t rows_ = 0;
};

}  // namespace millrace::flow

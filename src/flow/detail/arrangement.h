#pragma once

#include <boost/unordered/unordered_flat_set.hpp>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "flow/detail/slab.h"

namespace millrace::flow {

uint64_t hash_bytes(std::string_view bytes);

class StateReader;
class StateWriter;

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
    uint64_t hash = 0;    // of key and row; unused when append-only
    uint32_t size = 0;
    bool touched = false;  // for the operator: listed as touched in this epoch
    uint8_t mark = 0;      // for the operator

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

    char* bytes() { return reinterpret_cast<char*>(this + 1); }
    std::string_view view() const { return {reinterpret_cast<const char*>(this + 1), size}; }
  };

  /// `append_only`: weights are positive, and equal rows are kept apart, which saves an index.
  explicit Arrangement(bool append_only) : append_only_(append_only) {}

  /// Null when no row has this key. `hash` is hash_bytes(key).
  Key* find(std::string_view key, uint64_t hash);
  Key& find_or_add(std::string_view key, uint64_t hash);
  /// Adds `weight` to the row. A row that comes to weight 0 stays until the caller removes it.
  Added add(Key& key, std::string_view row, int64_t weight);
  void remove(Row& row);
  /// Forgets a key that has no rows.
  void remove(Key& key);
  size_t rows() const { return rows_; }
  size_t memory_bytes() const;
  /// All rows with what the operator keeps beside them, key by key; the order within a key is kept.
  void save(StateWriter& out) const;
  /// Into an empty arrangement; `hash_bytes` of a key must be its hash.
  void load(StateReader& in);
  /// The rows of one key (null: it has none), for owners whose keys are not to be saved.
  static void save_rows(const Key* key, StateWriter& out);
  void load_rows(std::string_view key, uint64_t hash, StateReader& in);
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
    size_t operator()(const Row* r) const { return r->hash; }
    size_t operator()(const Probe& p) const { return p.hash; }
  };
  struct RowEqual {
    using is_transparent = void;
    bool operator()(const Row* a, const Row* b) const { return a == b; }
    bool operator()(const Probe& p, Row* r) const {
      return p.hash == r->hash && p.key == r->key && p.bytes == r->view();
    }
    bool operator()(Row* r, const Probe& p) const { return (*this)(p, r); }
  };

  Row& append(Key& key, std::string_view row, int64_t weight, uint64_t hash);

  bool append_only_;
  Slab slab_;
  boost::unordered_flat_set<Key*, KeyHash, KeyEqual> keys_;
  boost::unordered_flat_set<Row*, RowHash, RowEqual> index_;
  size_t rows_ = 0;
};

}  // namespace millrace::flow

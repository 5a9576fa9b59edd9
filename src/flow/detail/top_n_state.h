#pragma once

#include <algorithm>
#include <boost/intrusive/set.hpp>
#include <boost/unordered/unordered_flat_set.hpp>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>

#include "flow/detail/arrangement.h"
#include "flow/detail/frozen_slab.h"

namespace millrace::flow {

class RankedPartition;

/// A row of a top-n; its sort key and its bytes stand behind it in memory.
struct RankedRow
    : boost::intrusive::set_base_hook<boost::intrusive::optimize_size<true>,
                                      boost::intrusive::link_mode<boost::intrusive::normal_link>> {
  int64_t weight = 0;
  int64_t emitted = 0;       // copies in the output
  int64_t emitted_from = 0;  // where they are numbered: the first copy's number, from 0
  RankedPartition* partition = nullptr;
  uint32_t key_bytes : 31 = 0;
  uint32_t touched : 1 = false;
  uint32_t row_bytes = 0;

  char* bytes() { return reinterpret_cast<char*>(this + 1); }
  const char* row() const { return reinterpret_cast<const char*>(this + 1) + key_bytes; }
  std::string_view key() const { return {reinterpret_cast<const char*>(this + 1), key_bytes}; }
  std::string_view view() const { return {row(), row_bytes}; }
};

/// By sort key; what ties, by bytes of the row: the same rows always stand in the same order.
struct RankedLess {
  struct Probe {
    std::string_view key, row;
  };
  static int compare(std::string_view a, std::string_view a_row, std::string_view b,
                     std::string_view b_row) {
    const int order = a.compare(b);
    return order != 0 ? order : a_row.compare(b_row);
  }
  bool operator()(const RankedRow& a, const RankedRow& b) const {
    return compare(a.key(), a.view(), b.key(), b.view()) < 0;
  }
  bool operator()(const Probe& a, const RankedRow& b) const {
    return compare(a.key, a.row, b.key(), b.view()) < 0;
  }
  bool operator()(const RankedRow& a, const Probe& b) const {
    return compare(a.key(), a.view(), b.key, b.row) < 0;
  }
};

/// The rows of one partition in order, and two places in it: where what is shown begins and ends.
/// A place moves by the rows that came and went before it, so a change costs O(log rows).
class RankedPartition {
 public:
  using Tree = boost::intrusive::set<RankedRow, boost::intrusive::compare<RankedLess>,
                                     boost::intrusive::constant_time_size<false>>;
  /// The first row that does not end at or before some position.
  struct Place {
    RankedRow* row = nullptr;  // null: every row ends before
    int64_t before = 0;        // weight of the rows before it
  };

  uint64_t hash = 0;
  int64_t weight = 0;  // of all rows
  uint32_t key_bytes = 0;
  bool touched = false;
  Tree rows;
  Place from, until;

  char* bytes() { return reinterpret_cast<char*>(this + 1); }
  std::string_view key() const { return {reinterpret_cast<const char*>(this + 1), key_bytes}; }

  /// The row's weight changed; a new one stands in `rows` already.
  void add(RankedRow& row, int64_t change) {
    row.weight += change;
    weight += change;
    for (Place* place : {&from, &until})
      if (!place->row || RankedLess{}(row, *place->row)) place->before += change;
  }

  /// Takes out a row of weight 0.
  void erase(RankedRow& row) {
    const auto next = rows.erase(rows.iterator_to(row));
    for (Place* place : {&from, &until})
      if (place->row == &row) place->row = next == rows.end() ? nullptr : &*next;
  }

  /// Moves `place` to position `to`; calls visit(RankedRow&) for the rows of which another part may
  /// lie before it now.
  template <typename F>
  void move(Place& place, int64_t to, F&& visit) {
    if (place.row) visit(*place.row);
    while (place.row && place.before + place.row->weight <= to) {
      place.before += place.row->weight;
      const auto next = std::next(rows.iterator_to(*place.row));
      place.row = next == rows.end() ? nullptr : &*next;
      if (place.row) visit(*place.row);
    }
    while (place.before > to) {
      auto at = place.row ? rows.iterator_to(*place.row) : rows.end();
      place.row = &*--at;
      place.before -= place.row->weight;
      visit(*place.row);
    }
  }

  /// Of a row's copies, those between the places at positions `first` and `last`: how many, and the
  /// number of the first of them, counted from `first`.
  struct Shown {
    int64_t count = 0, from = 0;
  };
  Shown shown(const RankedRow& row, int64_t first, int64_t last, int64_t before) const {
    const int64_t begin = std::max(before, first);
    const int64_t end = std::min(before + row.weight, last);
    return begin < end ? Shown{end - begin, begin - first} : Shown{};
  }
  Shown shown(const RankedRow& row, int64_t first, int64_t last) const {
    const RankedLess less;
    if (!from.row || less(row, *from.row)) return {};
    if (&row == from.row) return shown(row, first, last, from.before);
    if (until.row && less(*until.row, row)) return {};
    if (&row == until.row) return shown(row, first, last, until.before);
    return {row.weight, 0};  // wholly inside; its number is not known here
  }
};

/// Partitions by key bytes, and the memory of their rows.
class RankedPartitions {
 public:
  RankedPartition& find_or_add(std::string_view key, uint64_t hash) {
    const auto found = partitions_.find(Probe{key, hash});
    if (found != partitions_.end()) return **found;
    auto* added = std::construct_at(static_cast<RankedPartition*>(
        partition_slab_.allocate(sizeof(RankedPartition) + key.size())));
    added->hash = hash;
    added->key_bytes = static_cast<uint32_t>(key.size());
    std::memcpy(added->bytes(), key.data(), key.size());
    partitions_.insert(added);
    return *added;
  }
  void remove(RankedPartition& partition) {
    partitions_.erase(&partition);
    const size_t bytes = sizeof(RankedPartition) + partition.key_bytes;
    std::destroy_at(&partition);
    partition_slab_.release(&partition, bytes);
  }
  /// A new row, not in the partition yet.
  RankedRow& make_row(RankedPartition& partition, std::string_view key, std::string_view row) {
    auto* made = std::construct_at(
        static_cast<RankedRow*>(slab_.allocate(sizeof(RankedRow) + key.size() + row.size())));
    made->partition = &partition;
    MR_CHECK(key.size() < uint32_t{1} << 31);
    made->key_bytes = static_cast<uint32_t>(key.size());
    made->row_bytes = static_cast<uint32_t>(row.size());
    if (!key.empty()) std::memcpy(made->bytes(), key.data(), key.size());
    std::memcpy(made->bytes() + key.size(), row.data(), row.size());
    ++rows_;
    return *made;
  }
  /// To be called before anything of the row is changed, `touched` apart.
  void before_change(RankedRow& row) {
    if (auto* out = frozen_.thaw(&row)) save(row, *out);
  }
  /// As Operator's, of all rows.
  void freeze() { frozen_.freeze(); }
  bool save_some(StateWriter& out, size_t bytes) {
    return frozen_.save_some(out, bytes, [](std::span<void* const> rows, StateWriter& to) {
      for (const void* row : rows) save(*static_cast<const RankedRow*>(row), to);
    });
  }
  void load(StateReader& in) {
    std::string partition_key, key;
    while (in.number<uint8_t>() == FrozenSlab::kPiece) {
      partition_key = in.bytes();
      key = in.bytes();
      const auto weight = in.number<int64_t>();
      const auto emitted = in.number<int64_t>(), emitted_from = in.number<int64_t>();
      auto& partition = find_or_add(partition_key, hash_bytes(partition_key));
      auto& row = make_row(partition, key, in.bytes());
      partition.rows.insert(row);
      partition.add(row, weight);
      row.emitted = emitted;
      row.emitted_from = emitted_from;
    }
  }
  void free_row(RankedRow& row) {
    --rows_;
    slab_.release(&row, sizeof(RankedRow) + row.key_bytes + row.row_bytes);
  }
  auto begin() const { return partitions_.begin(); }
  auto end() const { return partitions_.end(); }
  size_t size() const { return partitions_.size(); }
  size_t rows() const { return rows_; }
  size_t memory_bytes() const {
    return slab_.memory_bytes() + partition_slab_.memory_bytes() +
           partitions_.bucket_count() * (sizeof(void*) + 1);
  }

 private:
  struct Probe {
    std::string_view key;
    uint64_t hash;
  };
  struct Hash {
    using is_transparent = void;
    using is_avalanching = void;
    size_t operator()(const RankedPartition* p) const { return p->hash; }
    size_t operator()(const Probe& p) const { return p.hash; }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const RankedPartition* a, const RankedPartition* b) const { return a == b; }
    bool operator()(const Probe& p, const RankedPartition* q) const {
      return p.hash == q->hash && p.key == q->key();
    }
    bool operator()(const RankedPartition* q, const Probe& p) const { return (*this)(p, q); }
  };

  static void save(const RankedRow& row, StateWriter& out) {
    out.number(FrozenSlab::kPiece);
    out.bytes(row.partition->key());
    out.bytes(row.key());
    out.number(row.weight);
    out.number(row.emitted);
    out.number(row.emitted_from);
    out.bytes(row.view());
  }

  Slab partition_slab_, slab_;  // of rows
  FrozenSlab frozen_{slab_};
  boost::unordered_flat_set<RankedPartition*, Hash, Equal> partitions_;
  size_t rows_ = 0;
};

}  // namespace millrace::flow

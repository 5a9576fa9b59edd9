#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

#include "flow/detail/arrangement.h"

namespace millrace::flow {

/// Ordered multisets over rows of an arrangement: rows by a sort key, those that tie as they came,
/// and how many stand before each. One multiset a Root; all share their memory. Each operation
/// takes O(log rows): treaps, whose nodes count what is below them.
/// Source: Seidel and Aragon, Randomized search trees, Algorithmica 1996.
class RankedRows {
 public:
  using Row = Arrangement::Row;
  using Root = Slab::Handle;  // 0: no rows

  /// A row that is not there yet. Its number does not change as long as it stands here.
  void insert(Root& root, std::string_view key, Row& row, int64_t weight);
  /// Adds `change` to the weight of a row that is there; at 0 it goes.
  void change(Root& root, std::string_view key, const Row& row, int64_t change);
  /// The row of the copy at `rank`, from 0; null: there are no more than that.
  Row* at(Root root, int64_t rank) const;
  /// Of all rows.
  int64_t weight(Root root) const { return root == 0 ? 0 : node(root).total; }
  void clear(Root& root);
  /// Of some rows, leaves the first.
  void keep_first(Root& root);

  size_t memory_bytes() const { return slab_.memory_bytes(); }
  /// Of keys, since it was made: what it has cost.
  uint64_t comparisons() const { return comparisons_; }

 private:
  /// Its key stands behind it in memory.
  struct Node {
    Root left = 0, right = 0;
    int64_t total = 0;  // weight of its row and of what is below
    Row* row = nullptr;
    uint32_t priority = 0;  // no node below has a greater one
    uint32_t key_bytes = 0;

    std::string_view key() const { return {reinterpret_cast<const char*>(this + 1), key_bytes}; }
  };
  static size_t bytes_of(const Node& node) { return sizeof(Node) + node.key_bytes; }

  Node& node(Root at) const { return *static_cast<Node*>(slab_.at(at)); }
  int64_t own(const Node& one) const { return one.total - weight(one.left) - weight(one.right); }
  bool is_before(std::string_view key, uint64_t number, const Node& other) const;
  void put(Root& at, Root fresh);
  std::pair<Root, Root> split(Root at, std::string_view key, uint64_t number);
  Root merge(Root left, Root right);
  void take_out(Root& at);

  Slab slab_;
  mutable uint64_t comparisons_ = 0;
};

}  // namespace millrace::flow

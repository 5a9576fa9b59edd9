#pragma once

#include <boost/unordered/unordered_flat_set.hpp>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "flow/detail/frozen_slab.h"

namespace millrace::flow {

/// One group: the aggregates' states and the key stand behind it in memory.
struct Group {
  uint64_t hash = 0;
  int64_t rows = 0;
  char* emitted = nullptr;  // the aggregates' results as they stand in the output; null: none
  uint32_t emitted_bytes = 0;
  uint32_t key_bytes = 0;
  bool touched = false;
  alignas(16) char states[];

  static constexpr size_t kHeader = 48;
};
static_assert(sizeof(Group) == Group::kHeader && offsetof(Group, states) == Group::kHeader);

/// Groups by key bytes.
class GroupTable {
 public:
  /// `state_bytes`: of each group, a multiple of 16.
  explicit GroupTable(size_t state_bytes) : state_bytes_(state_bytes) {}

  /// Null: there is none.
  Group* find(std::string_view key, uint64_t hash) const {
    const auto found = groups_.find(Probe{key, hash, state_bytes_});
    return found == groups_.end() ? nullptr : *found;
  }
  /// The group, and whether it is new: then its states are raw memory.
  std::pair<Group*, bool> find_or_add(std::string_view key, uint64_t hash) {
    if (Group* found = find(key, hash)) return {found, false};
    void* memory = slab_.allocate(Group::kHeader + state_bytes_ + key.size());
    Group* group = std::construct_at(static_cast<Group*>(memory));
    group->hash = hash;
    group->key_bytes = static_cast<uint32_t>(key.size());
    std::memcpy(key_of(*group), key.data(), key.size());
    groups_.insert(group);
    return {group, true};
  }
  void remove(Group& group) {
    groups_.erase(&group);
    set_emitted(group, {});
    slab_.release(&group, Group::kHeader + state_bytes_ + group.key_bytes);
  }
  char* key_of(Group& group) const { return group.states + state_bytes_; }
  std::string_view key(Group& group) const { return {key_of(group), group.key_bytes}; }

  /// Keeps a copy of `row` as what is emitted; frees the one before.
  void set_emitted(Group& group, std::string_view row) {
    if (group.emitted) row_slab_.release(group.emitted, group.emitted_bytes);
    group.emitted = nullptr;
    group.emitted_bytes = static_cast<uint32_t>(row.size());
    if (row.empty()) return;
    group.emitted = static_cast<char*>(row_slab_.allocate(row.size()));
    std::memcpy(group.emitted, row.data(), row.size());
  }
  std::string_view emitted(const Group& group) const {
    return {group.emitted, group.emitted ? group.emitted_bytes : 0};
  }

  /// The groups as they stand: who changes one saves it first, if this says so.
  FrozenSlab& frozen() { return frozen_; }
  size_t size() const { return groups_.size(); }
  size_t memory_bytes() const {
    return slab_.memory_bytes() + row_slab_.memory_bytes() +
           groups_.bucket_count() * (sizeof(void*) + 1);
  }
  auto begin() const { return groups_.begin(); }
  auto end() const { return groups_.end(); }

 private:
  struct Probe {
    std::string_view key;
    uint64_t hash;
    size_t state_bytes;
  };
  struct Hash {
    using is_transparent = void;
    using is_avalanching = void;
    size_t operator()(const Group* g) const { return g->hash; }
    size_t operator()(const Probe& p) const { return p.hash; }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const Group* a, const Group* b) const { return a == b; }
    bool operator()(const Probe& p, const Group* g) const {
      return p.hash == g->hash &&
             p.key == std::string_view{g->states + p.state_bytes, g->key_bytes};
    }
    bool operator()(const Group* g, const Probe& p) const { return (*this)(p, g); }
  };

  size_t state_bytes_;
  Slab row_slab_;  // of what is emitted
  Slab slab_;      // of groups
  FrozenSlab frozen_{slab_};
  boost::unordered_flat_set<Group*, Hash, Equal> groups_;
};

}  // namespace millrace::flow

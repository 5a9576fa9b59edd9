#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "flow/detail/flat_table.h"
#include "flow/detail/frozen_slab.h"

namespace millrace::flow {

/// One group: the aggregates' states and the key stand behind it in memory.
struct Group {
  uint64_t hash = 0;
  int64_t rows = 0;
  Slab::Handle emitted = 0;  // the aggregates' results as they stand in the output; 0: none
  uint32_t emitted_bytes = 0;
  uint32_t key_bytes : 30 = 0;
  uint32_t touched : 1 = false;
  uint32_t failed : 1 = false;  // an aggregate fails over its rows: it stands not in the output
  alignas(16) char states[];

  static constexpr size_t kHeader = 32;
};
static_assert(sizeof(Group) == Group::kHeader && offsetof(Group, states) == Group::kHeader);

/// Groups by key bytes.
class GroupTable {
 public:
  /// `state_bytes`: of each group, a multiple of 16.
  explicit GroupTable(size_t state_bytes) : state_bytes_(state_bytes) {}

  /// Null: there is none.
  Group* find(std::string_view key, uint64_t hash) const {
    const auto* found = groups_.find(PieceEntry::place_of(hash), [&](const PieceEntry& entry) {
      return this->key(group_at(entry)) == key;
    });
    return found ? &group_at(*found) : nullptr;
  }
  /// The group, and whether it is new: then its states are raw memory.
  std::pair<Group*, bool> find_or_add(std::string_view key, uint64_t hash) {
    if (Group* found = find(key, hash)) return {found, false};
    void* memory = slab_.allocate(Group::kHeader + state_bytes_ + key.size());
    Group* group = std::construct_at(static_cast<Group*>(memory));
    group->hash = hash;
    MR_CHECK(key.size() < uint32_t{1} << 30);
    group->key_bytes = static_cast<uint32_t>(key.size());
    std::memcpy(key_of(*group), key.data(), key.size());
    groups_.insert({PieceEntry::place_of(hash), slab_.handle_of(group)});
    return {group, true};
  }
  /// Before the key `at` of those with these hashes is looked up: warms what later ones will touch.
  void warm(std::span<const uint64_t> hashes, size_t at) const {
    if (at + kWarmPlace < hashes.size())
      groups_.warm(PieceEntry::place_of(hashes[at + kWarmPlace]));
    if (at + kWarmPiece >= hashes.size()) return;
    if (const auto* entry = groups_.first_at(PieceEntry::place_of(hashes[at + kWarmPiece]))) {
      Group& group = group_at(*entry);
      __builtin_prefetch(&group);
      __builtin_prefetch(key_of(group));
    }
  }
  /// The same of groups whose rows are put out one after the other.
  void warm(std::span<Group* const> groups, size_t at) const {
    if (at + kWarmPlace < groups.size()) __builtin_prefetch(groups[at + kWarmPlace]);
    if (at + kWarmPiece >= groups.size() || groups[at + kWarmPiece]->emitted == 0) return;
    const void* row = row_slab_.at(groups[at + kWarmPiece]->emitted);
    __builtin_prefetch(row);
    row_slab_.warm(row);
  }
  void remove(Group& group) {
    const auto handle = slab_.handle_of(&group);
    groups_.erase(groups_.find(PieceEntry::place_of(group.hash),
                               [&](const auto& entry) { return entry.piece == handle; }));
    set_emitted(group, {});
    slab_.release(&group, Group::kHeader + state_bytes_ + group.key_bytes);
  }
  char* key_of(Group& group) const { return group.states + state_bytes_; }
  std::string_view key(Group& group) const { return {key_of(group), group.key_bytes}; }

  /// Keeps a copy of `row` as what is emitted; frees the one before.
  void set_emitted(Group& group, std::string_view row) {
    if (group.emitted != 0) row_slab_.release(row_slab_.at(group.emitted), group.emitted_bytes);
    group.emitted = 0;
    group.emitted_bytes = static_cast<uint32_t>(row.size());
    if (row.empty()) return;
    void* const kept = row_slab_.allocate(row.size());
    std::memcpy(kept, row.data(), row.size());
    group.emitted = row_slab_.handle_of(kept);
  }
  std::string_view emitted(const Group& group) const {
    if (group.emitted == 0) return {};
    return {static_cast<const char*>(row_slab_.at(group.emitted)), group.emitted_bytes};
  }

  /// The groups as they stand: who changes one saves it first, if this says so.
  FrozenSlab& frozen() { return frozen_; }
  size_t size() const { return groups_.size(); }
  size_t memory_bytes() const {
    return slab_.memory_bytes() + row_slab_.memory_bytes() + groups_.memory_bytes();
  }
  /// Calls f(Group&) for every group.
  template <typename F>
  void each(F&& f) const {
    groups_.each([&](const PieceEntry& entry) { f(group_at(entry)); });
  }

 private:
  Group& group_at(const PieceEntry& entry) const {
    return *static_cast<Group*>(slab_.at(entry.piece));
  }

  size_t state_bytes_;
  Slab row_slab_;  // of what is emitted
  Slab slab_;      // of groups
  FrozenSlab frozen_{slab_};
  PieceTable groups_;
};

}  // namespace millrace::flow

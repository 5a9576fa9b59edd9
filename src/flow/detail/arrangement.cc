#include "flow/detail/arrangement.h"

#define XXH_INLINE_ALL  // keys are short: a call costs as much as the hash
#include <xxhash.h>
#include <duckdb.hpp>

#include <algorithm>
#include <utility>
#include <vector>

namespace millrace::flow {

uint64_t hash_bytes(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

Arrangement::Key* Arrangement::find(std::string_view key, uint64_t hash) {
  const auto* found = keys_.find(PieceEntry::place_of(hash), [&](const PieceEntry& entry) {
    return key_at(entry).view() == key;
  });
  return found ? &key_at(*found) : nullptr;
}

Arrangement::Key& Arrangement::find_or_add(std::string_view key, uint64_t hash) {
  if (Key* found = find(key, hash)) return *found;
  Key* added = std::construct_at(static_cast<Key*>(key_slab_.allocate(sizeof(Key) + key.size())));
  added->hash = PieceEntry::place_of(hash);
  MR_CHECK(key.size() < uint32_t{1} << 31);
  added->size = static_cast<uint32_t>(key.size());
  std::memcpy(added->bytes(), key.data(), key.size());
  keys_.insert({added->hash, key_slab_.handle_of(added)});
  return *added;
}

Arrangement::Added Arrangement::add(Key& key, std::string_view row, int64_t weight) {
  if (append_only_) return {append(key, row, weight, 0), true};
  const uint32_t hash = hash_of(key, row);
  const auto of_key = key_slab_.handle_of(&key);
  const auto* found = index_.find(hash, [&](const PieceEntry& entry) {
    const Row& one = *row_at(entry.piece);
    return one.key == of_key && one.view() == row;
  });
  if (!found) {
    Row& added = append(key, row, weight, hash);
    index_.insert({hash, slab_.handle_of(&added)});
    return {added, true};
  }
  Row& known = *row_at(found->piece);
  before_change(known);
  known.weight += weight;
  return {known, false};
}

uint32_t Arrangement::hash_of(const Key& key, std::string_view row) const {
  return PieceEntry::place_of(hash_bytes(row) ^ (key.hash * 0x9e3779b97f4a7c15ull));
}

Arrangement::Row& Arrangement::append(Key& key, std::string_view row, int64_t weight,
                                      uint32_t hash) {
  const size_t head = Row::head_bytes(counted_);
  Row* added = std::construct_at(
      static_cast<Row*>(slab_.allocate(std::max(head + row.size(), sizeof(Row)))));
  added->key = key_slab_.handle_of(&key);
  added->weight = weight;
  added->number = next_number_++;
  added->hash = hash;
  MR_CHECK(row.size() < uint32_t{1} << 28);
  added->size = static_cast<uint32_t>(row.size());
  added->counted = counted_;
  if (counted_) std::construct_at(&added->counts());
  std::memcpy(added->bytes(), row.data(), row.size());
  const auto handle = slab_.handle_of(added);
  added->previous = key.last;
  (key.last != 0 ? row_at(key.last)->next : key.first) = handle;
  key.last = handle;
  ++rows_;
  return *added;
}

void Arrangement::remove(Row& row) {
  before_change(row);
  Key& key = key_of(row);
  (row.previous != 0 ? row_at(row.previous)->next : key.first) = row.next;
  (row.next != 0 ? row_at(row.next)->previous : key.last) = row.previous;
  if (!append_only_) {
    const auto handle = slab_.handle_of(&row);
    index_.erase(index_.find(row.hash, [&](const auto& entry) { return entry.piece == handle; }));
  }
  --rows_;
  slab_.release(&row, std::max(Row::head_bytes(counted_) + row.size, sizeof(Row)));
}

void Arrangement::remove(Key& key) {
  const auto handle = key_slab_.handle_of(&key);
  keys_.erase(keys_.find(key.hash, [&](const auto& entry) { return entry.piece == handle; }));
  key_slab_.release(&key, sizeof(Key) + key.size);
}

size_t Arrangement::memory_bytes() const {
  return slab_.memory_bytes() + key_slab_.memory_bytes() + keys_.memory_bytes() +
         index_.memory_bytes();
}

namespace {

// Of a row that is saved: what stands there.
constexpr uint8_t kHasKey = 2, kHasMarks = 4;

}  // namespace

void Arrangement::freeze() {
  frozen_.freeze();
  began_ = false;
}

bool Arrangement::save_some(StateWriter& out, size_t bytes) {
  if (!std::exchange(began_, true)) out.begin("rows", 2);
  Slab::Handle last = 0;
  return frozen_.save_some(out, bytes, [&](std::span<void* const> rows, StateWriter& to) {
    for (const void* piece : rows) {
      const auto& row = *static_cast<const Row*>(piece);
      save(row, last, to);
      last = row.key;
    }
  });
}

void Arrangement::save(const Row& row, Slab::Handle last, StateWriter& out) const {
  const Counts counts = row.counted ? row.counts() : Counts{};
  const bool has_marks = counts.matches != 0 || counts.emitted != 0 || row.mark != 0;
  uint8_t what = FrozenSlab::kPiece;
  if (row.key != last) what |= kHasKey;
  if (has_marks) what |= kHasMarks;
  out.number(what);
  if (row.key != last) out.bytes(name_of_ ? name_of_(key_of(row)) : key_of(row).view());
  out.number(row.number);
  out.number(row.weight);
  if (has_marks) {
    out.number(counts.matches);
    out.number(counts.emitted);
    out.number(static_cast<uint8_t>(row.mark));
  }
  out.bytes(row.view());
}

void Arrangement::load(StateReader& in) {
  load(in, [this](std::string_view key) { return &find_or_add(key, hash_bytes(key)); });
}

void Arrangement::load(StateReader& in, const std::function<Key*(std::string_view)>& key_of) {
  in.begin("rows", 2);
  Key* key = nullptr;
  uint64_t next_number = 0;
  for (auto what = in.number<uint8_t>(); what != FrozenSlab::kEnd; what = in.number<uint8_t>()) {
    if (what & kHasKey) {
      const auto name = in.bytes();
      if (!in.ok()) return;
      key = key_of(name);
    }
    if (!key) return in.fail("a row is there without its key");
    const auto number = in.number<uint64_t>();
    const auto weight = in.number<int64_t>();
    const bool has_marks = what & kHasMarks;
    const auto matches = has_marks ? in.number<int64_t>() : 0;
    const auto emitted = has_marks ? in.number<int64_t>() : 0;
    const auto mark = has_marks ? in.number<uint8_t>() : uint8_t{0};
    const auto bytes = in.bytes();
    if (!in.ok()) return;
    if (key->last != 0 && row_at(key->last)->number > number) key->mixed_up = true;
    Row& row = append(*key, bytes, weight, append_only_ ? 0 : hash_of(*key, bytes));
    if (!append_only_) index_.insert({row.hash, slab_.handle_of(&row)});
    row.number = number;
    if (counted_) row.counts() = {matches, emitted};
    row.mark = mark;
    next_number = std::max(next_number, number + 1);
  }
  keys_.each([&](const PieceEntry& entry) {
    Key& one = key_at(entry);
    if (one.mixed_up) put_in_order(one);
    one.mixed_up = false;
  });
  next_number_ = next_number;
}

void Arrangement::put_in_order(Key& key) {
  std::vector<Row*> rows;
  for (Row* row = first(key); row; row = next(*row)) rows.push_back(row);
  std::ranges::sort(rows, {}, [](const Row* row) { return row->number; });
  key.first = key.last = 0;
  for (Row* row : rows) {
    const auto handle = slab_.handle_of(row);
    row->previous = key.last;
    row->next = 0;
    (key.last != 0 ? row_at(key.last)->next : key.first) = handle;
    key.last = handle;
  }
}

}  // namespace millrace::flow

#include "flow/detail/arrangement.h"

#include <duckdb.hpp>

#include <algorithm>
#include <duckdb/common/types/hash.hpp>
#include <utility>
#include <vector>

namespace millrace::flow {

uint64_t hash_bytes(std::string_view bytes) { return duckdb::Hash(bytes.data(), bytes.size()); }

Arrangement::Key* Arrangement::find(std::string_view key, uint64_t hash) {
  const auto found = keys_.find(Probe{key, hash, nullptr});
  return found == keys_.end() ? nullptr : *found;
}

Arrangement::Key& Arrangement::find_or_add(std::string_view key, uint64_t hash) {
  if (Key* found = find(key, hash)) return *found;
  Key* added = std::construct_at(static_cast<Key*>(key_slab_.allocate(sizeof(Key) + key.size())));
  added->hash = hash;
  added->size = static_cast<uint32_t>(key.size());
  std::memcpy(added->bytes(), key.data(), key.size());
  keys_.insert(added);
  return *added;
}

Arrangement::Added Arrangement::add(Key& key, std::string_view row, int64_t weight) {
  if (append_only_) return {append(key, row, weight, 0), true};
  const uint64_t hash = hash_of(key, row);
  const auto found = index_.find(Probe{row, hash, &key});
  if (found == index_.end()) {
    Row& added = append(key, row, weight, hash);
    index_.insert(&added);
    return {added, true};
  }
  before_change(**found);
  (*found)->weight += weight;
  key.weight += weight;
  return {**found, false};
}

uint64_t Arrangement::hash_of(const Key& key, std::string_view row) const {
  return hash_bytes(row) ^ (key.hash * 0x9e3779b97f4a7c15ull);
}

Arrangement::Row& Arrangement::append(Key& key, std::string_view row, int64_t weight,
                                      uint64_t hash) {
  Row* added = std::construct_at(static_cast<Row*>(slab_.allocate(sizeof(Row) + row.size())));
  added->key = &key;
  added->weight = weight;
  added->number = next_number_++;
  added->hash = static_cast<uint32_t>(hash);
  MR_CHECK(row.size() < uint32_t{1} << 29);
  added->size = static_cast<uint32_t>(row.size());
  key.weight += weight;
  std::memcpy(added->bytes(), row.data(), row.size());
  added->previous = key.last;
  (key.last ? key.last->next : key.first) = added;
  key.last = added;
  ++rows_;
  return *added;
}

void Arrangement::remove(Row& row) {
  before_change(row);
  Key& key = *row.key;
  key.weight -= row.weight;
  (row.previous ? row.previous->next : key.first) = row.next;
  (row.next ? row.next->previous : key.last) = row.previous;
  if (!append_only_) index_.erase(&row);
  --rows_;
  slab_.release(&row, sizeof(Row) + row.size);
}

void Arrangement::remove(Key& key) {
  keys_.erase(&key);
  key_slab_.release(&key, sizeof(Key) + key.size);
}

size_t Arrangement::memory_bytes() const {
  return slab_.memory_bytes() + key_slab_.memory_bytes() +
         (keys_.bucket_count() + index_.bucket_count()) * (sizeof(void*) + 1);
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
  const Key* last = nullptr;
  return frozen_.save_some(out, bytes, [&](std::span<void* const> rows, StateWriter& to) {
    for (const void* piece : rows) {
      const auto& row = *static_cast<const Row*>(piece);
      save(row, last, to);
      last = row.key;
    }
  });
}

void Arrangement::save(const Row& row, const Key* last, StateWriter& out) const {
  const bool has_marks = row.matches != 0 || row.emitted != 0 || row.mark != 0;
  uint8_t what = FrozenSlab::kPiece;
  if (row.key != last) what |= kHasKey;
  if (has_marks) what |= kHasMarks;
  out.number(what);
  if (row.key != last) out.bytes(name_of_ ? name_of_(*row.key) : row.key->view());
  out.number(row.number);
  out.number(row.weight);
  if (has_marks) {
    out.number(row.matches);
    out.number(row.emitted);
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
    if (what & kHasKey) key = key_of(in.bytes());
    if (!key) return in.fail("a row is there without its key");
    const auto number = in.number<uint64_t>();
    const auto weight = in.number<int64_t>();
    const bool has_marks = what & kHasMarks;
    const auto matches = has_marks ? in.number<int64_t>() : 0;
    const auto emitted = has_marks ? in.number<int64_t>() : 0;
    const auto mark = has_marks ? in.number<uint8_t>() : uint8_t{0};
    const auto bytes = in.bytes();
    key->mixed_up |= key->last && key->last->number > number;
    Row& row = append(*key, bytes, weight, append_only_ ? 0 : hash_of(*key, bytes));
    if (!append_only_) index_.insert(&row);
    row.number = number;
    row.matches = matches;
    row.emitted = emitted;
    row.mark = mark;
    next_number = std::max(next_number, number + 1);
  }
  for (Key* one : keys_)
    if (std::exchange(one->mixed_up, false)) put_in_order(*one);
  next_number_ = next_number;
}

void Arrangement::put_in_order(Key& key) {
  std::vector<Row*> rows;
  for (Row* row = key.first; row; row = row->next) rows.push_back(row);
  std::ranges::sort(rows, {}, [](const Row* row) { return row->number; });
  key.first = key.last = nullptr;
  for (Row* row : rows) {
    row->previous = key.last;
    row->next = nullptr;
    (key.last ? key.last->next : key.first) = row;
    key.last = row;
  }
}

}  // namespace millrace::flow

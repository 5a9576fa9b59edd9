#include "flow/detail/arrangement.h"

#include <duckdb.hpp>

#include <duckdb/common/types/hash.hpp>

#include "flow/detail/state_stream.h"

namespace millrace::flow {

uint64_t hash_bytes(std::string_view bytes) { return duckdb::Hash(bytes.data(), bytes.size()); }

Arrangement::Key* Arrangement::find(std::string_view key, uint64_t hash) {
  const auto found = keys_.find(Probe{key, hash, nullptr});
  return found == keys_.end() ? nullptr : *found;
}

Arrangement::Key& Arrangement::find_or_add(std::string_view key, uint64_t hash) {
  if (Key* found = find(key, hash)) return *found;
  Key* added = std::construct_at(static_cast<Key*>(slab_.allocate(sizeof(Key) + key.size())));
  added->hash = hash;
  added->size = static_cast<uint32_t>(key.size());
  std::memcpy(added->bytes(), key.data(), key.size());
  keys_.insert(added);
  return *added;
}

Arrangement::Added Arrangement::add(Key& key, std::string_view row, int64_t weight) {
  key.weight += weight;
  if (append_only_) return {append(key, row, weight, 0), true};
  const uint64_t hash = hash_bytes(row) ^ (key.hash * 0x9e3779b97f4a7c15ull);
  const auto found = index_.find(Probe{row, hash, &key});
  if (found == index_.end()) {
    Row& added = append(key, row, weight, hash);
    index_.insert(&added);
    return {added, true};
  }
  (*found)->weight += weight;
  return {**found, false};
}

Arrangement::Row& Arrangement::append(Key& key, std::string_view row, int64_t weight,
                                      uint64_t hash) {
  Row* added = std::construct_at(static_cast<Row*>(slab_.allocate(sizeof(Row) + row.size())));
  added->key = &key;
  added->weight = weight;
  added->hash = hash;
  added->size = static_cast<uint32_t>(row.size());
  std::memcpy(added->bytes(), row.data(), row.size());
  added->previous = key.last;
  (key.last ? key.last->next : key.first) = added;
  key.last = added;
  ++rows_;
  return *added;
}

void Arrangement::remove(Row& row) {
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
  slab_.release(&key, sizeof(Key) + key.size);
}

size_t Arrangement::memory_bytes() const {
  return slab_.memory_bytes() +
         (keys_.bucket_count() + index_.bucket_count()) * (sizeof(void*) + 1);
}

void Arrangement::save(StateWriter& out) const {
  out.begin("rows", 1);
  out.number(static_cast<uint64_t>(keys_.size()));
  for (const Key* key : keys_) {
    out.bytes(key->view());
    save_rows(key, out);
  }
}

void Arrangement::load(StateReader& in) {
  in.begin("rows", 1);
  std::string key;
  for (auto left = in.number<uint64_t>(); left > 0 && in.ok(); --left) {
    key = in.bytes();
    load_rows(key, hash_bytes(key), in);
  }
}

void Arrangement::save_rows(const Key* key, StateWriter& out) {
  uint64_t count = 0;
  for (const Row* row = key ? key->first : nullptr; row; row = row->next) ++count;
  out.number(count);
  for (const Row* row = key ? key->first : nullptr; row; row = row->next) {
    out.bytes(row->view());
    out.number(row->weight);
    out.number(row->matches);
    out.number(row->emitted);
    out.number(row->mark);
  }
}

void Arrangement::load_rows(std::string_view key, uint64_t hash, StateReader& in) {
  Key* owner = nullptr;
  std::string row;
  for (auto left = in.number<uint64_t>(); left > 0 && in.ok(); --left) {
    row = in.bytes();
    if (!owner) owner = &find_or_add(key, hash);
    Row& added = add(*owner, row, in.number<int64_t>()).row;
    added.matches = in.number<int64_t>();
    added.emitted = in.number<int64_t>();
    added.mark = in.number<uint8_t>();
  }
}

}  // namespace millrace::flow

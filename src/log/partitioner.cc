#include "log/partitioner.h"

#include <cstdint>

namespace millrace::log {

namespace {

/// Source: org.apache.kafka.common.utils.Utils.murmur2
uint32_t murmur2(std::string_view key) {
  constexpr uint32_t kMix = 0x5bd1e995;
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(key[i])); };
  uint32_t hash = 0x9747b28c ^ static_cast<uint32_t>(key.size());
  size_t i = 0;
  for (; i + 4 <= key.size(); i += 4) {
    uint32_t k = byte(i) | byte(i + 1) << 8 | byte(i + 2) << 16 | byte(i + 3) << 24;
    k *= kMix;
    k ^= k >> 24;
    k *= kMix;
    hash = hash * kMix ^ k;
  }
  const auto rest = key.size() - i;
  if (rest == 3) hash ^= byte(i + 2) << 16;
  if (rest >= 2) hash ^= byte(i + 1) << 8;
  if (rest >= 1) hash = (hash ^ byte(i)) * kMix;
  hash ^= hash >> 13;
  hash *= kMix;
  return hash ^ hash >> 15;
}

}  // namespace

size_t partition_of(std::string_view key, size_t count) {
  return (murmur2(key) & 0x7fffffff) % count;
}

}  // namespace millrace::log

#include "base/crc32c.h"

#include <nmmintrin.h>

#include <cstring>

namespace millrace {

uint32_t crc32c(std::string_view bytes, uint32_t before) {
  const char* at = bytes.data();
  size_t left = bytes.size();
  uint64_t crc = before ^ 0xffffffffu;
  for (; left >= 8; at += 8, left -= 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    crc = _mm_crc32_u64(crc, word);
  }
  auto crc32 = static_cast<uint32_t>(crc);
  for (; left > 0; ++at, --left) crc32 = _mm_crc32_u8(crc32, static_cast<uint8_t>(*at));
  return crc32 ^ 0xffffffffu;
}

}  // namespace millrace

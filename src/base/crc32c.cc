#include "base/crc32c.h"

#include <nmmintrin.h>

#include <array>
#include <cstring>

namespace millrace {

namespace {

/// Bytes of each of three lanes that are summed side by side: the instruction takes three cycles
/// and one can begin in every cycle.
constexpr size_t kLane = 1024;

uint64_t add_word(uint64_t crc, const char* at) {
  uint64_t word;
  std::memcpy(&word, at, 8);
  return _mm_crc32_u64(crc, word);
}

/// What a CRC becomes by kLane zero bytes: a linear map of its bits, by the CRC's bytes.
class LaneShift {
 public:
  LaneShift() {
    std::array<uint32_t, 32> bits;
    for (size_t i = 0; i < bits.size(); ++i) {
      uint64_t crc = uint64_t{1} << i;
      for (size_t n = 0; n < kLane; n += 8) crc = _mm_crc32_u64(crc, 0);
      bits[i] = static_cast<uint32_t>(crc);
    }
    for (size_t byte = 0; byte < 4; ++byte)
      for (size_t value = 0; value < 256; ++value)
        for (size_t bit = 0; bit < 8; ++bit)
          if (value >> bit & 1) by_byte_[byte][value] ^= bits[8 * byte + bit];
  }
  uint32_t operator()(uint64_t crc) const {
    return by_byte_[0][crc & 0xff] ^ by_byte_[1][crc >> 8 & 0xff] ^ by_byte_[2][crc >> 16 & 0xff] ^
           by_byte_[3][crc >> 24 & 0xff];
  }

 private:
  std::array<std::array<uint32_t, 256>, 4> by_byte_{};
};

}  // namespace

uint32_t crc32c(std::string_view bytes, uint32_t before) {
  static const LaneShift shift;
  const char* at = bytes.data();
  size_t left = bytes.size();
  uint64_t crc = before ^ 0xffffffffu;
  for (; left >= 3 * kLane; at += 3 * kLane, left -= 3 * kLane) {
    uint64_t second = 0, third = 0;
    for (const char* end = at + kLane; at < end; at += 8) {
      crc = add_word(crc, at);
      second = add_word(second, at + kLane);
      third = add_word(third, at + 2 * kLane);
    }
    at -= kLane;
    crc = shift(shift(crc) ^ second) ^ third;
  }
  for (; left >= 8; at += 8, left -= 8) crc = add_word(crc, at);
  auto crc32 = static_cast<uint32_t>(crc);
  for (; left > 0; ++at, --left) crc32 = _mm_crc32_u8(crc32, static_cast<uint8_t>(*at));
  return crc32 ^ 0xffffffffu;
}

}  // namespace millrace

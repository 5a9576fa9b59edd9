#include "base/crc32c.h"

#include <gtest/gtest.h>

#include <string>

namespace millrace {
namespace {

TEST(Crc32c, MatchesTheVectorsOfRfc3720) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(crc32c(""), 0u);
}

TEST(Crc32c, GoesOnFromTheCrcOfWhatStandsBefore) {
  EXPECT_EQ(crc32c("56789", crc32c("1234")), crc32c("123456789"));
}

TEST(Crc32c, LongOnesEqualTheirPiecesByByte) {
  std::string bytes;
  for (uint32_t i = 0; i < 10'000; ++i) bytes += static_cast<char>(i * 2654435761u >> 24);
  for (const size_t size : {3071, 3072, 3073, 6144, 9999, 10'000}) {
    uint32_t by_byte = 0;
    for (size_t i = 0; i < size; ++i) by_byte = crc32c({bytes.data() + i, 1}, by_byte);
    EXPECT_EQ(crc32c({bytes.data(), size}), by_byte) << size;
  }
}

}  // namespace
}  // namespace millrace

#include "base/compression.h"

#include <gtest/gtest.h>

#include <random>

namespace millrace {
namespace {

constexpr size_t kMax = 1u << 20;

class EveryCodec : public testing::TestWithParam<Codec> {};

std::string some_text(size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += "a flight from EWR to IAH, " + std::to_string(text.size());
  text.resize(bytes);
  return text;
}

TEST_P(EveryCodec, GivesBackWhatItTook) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{100}, size_t{70'000}, kMax}) {
    const auto text = some_text(size);
    const auto back = decompress(GetParam(), compress(GetParam(), text), kMax);
    ASSERT_TRUE(back) << back.error().text;
    EXPECT_EQ(*back, text);
  }
}

TEST_P(EveryCodec, GivesBackWhatIsShort) {
  for (size_t size = 0; size < 300; ++size) {
    const auto text = some_text(size);
    const auto back = decompress(GetParam(), compress(GetParam(), text, 1), kMax);
    ASSERT_TRUE(back) << back.error().text;
    ASSERT_EQ(*back, text);
  }
}

TEST_P(EveryCodec, StopsAtTheLimit) {
  const auto bomb = compress(GetParam(), std::string(64 * kMax, 'x'));
  const auto out = decompress(GetParam(), bomb, kMax);
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().code, ErrorCode::kRecordTooLarge);
}

TEST_P(EveryCodec, RefusesWhatIsCutShort) {
  const auto whole = compress(GetParam(), some_text(10'000));
  for (size_t kept = 0; kept < whole.size(); kept += 1 + kept / 7) {
    EXPECT_FALSE(decompress(GetParam(), std::string_view(whole).substr(0, kept), kMax)) << kept;
  }
}

TEST_P(EveryCodec, SurvivesFlippedBits) {
  const auto whole = compress(GetParam(), some_text(3'000));
  std::mt19937_64 random(7);
  for (int round = 0; round < 2'000; ++round) {
    auto bytes = whole;
    bytes[random() % bytes.size()] ^= static_cast<char>(1 << random() % 8);
    const auto out = decompress(GetParam(), bytes, kMax);
    if (out) EXPECT_LE(out->size(), kMax);
  }
}

INSTANTIATE_TEST_SUITE_P(Codecs, EveryCodec,
                         testing::Values(Codec::kGzip, Codec::kSnappy, Codec::kLz4, Codec::kZstd));

TEST(Snappy, ReadsTheFramingOfTheJavaClient) {
  const auto block = [](std::string_view text) {
    const auto bytes = compress(Codec::kSnappy, text);
    return std::string{'\0', '\0', '\0', static_cast<char>(bytes.size())} + bytes;
  };
  const std::string head("\x82SNAPPY\0\0\0\0\1\0\0\0\1", 16);
  const auto out = decompress(Codec::kSnappy, head + block("one, ") + block("two"), kMax);
  ASSERT_TRUE(out) << out.error().text;
  EXPECT_EQ(*out, "one, two");
  EXPECT_FALSE(decompress(Codec::kSnappy, head + block("one").substr(0, 6), kMax));
}

}  // namespace
}  // namespace millrace

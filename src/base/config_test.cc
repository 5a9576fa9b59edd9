#include "base/config.h"

#include <gmock/gmock.h>

#include "base/nearest.h"

namespace millrace {
namespace {

using testing::HasSubstr;

TEST(Config, ReadsByteSizes) {
  EXPECT_EQ(*config::parse_bytes("1048576"), 1048576u);
  EXPECT_EQ(*config::parse_bytes("512MB"), 512'000'000u);
  EXPECT_EQ(*config::parse_bytes("2GiB"), 2ull << 30);
  EXPECT_EQ(*config::parse_bytes("1.5 gib"), 3ull << 29);
  EXPECT_EQ(*config::parse_bytes("64k"), 65536u);
  for (auto bad : {"", "GiB", "-1", "1x", "1e400", "99999999999TB", "nan"}) {
    EXPECT_FALSE(config::parse_bytes(bad)) << bad;
  }
}

TEST(Config, ReadsDurations) {
  using namespace std::chrono_literals;
  EXPECT_EQ(*config::parse_duration("250ms"), 250ms);
  EXPECT_EQ(*config::parse_duration("1.5s"), 1500ms);
  EXPECT_EQ(*config::parse_duration("7d"), 168h);
  EXPECT_EQ(*config::parse_duration("0"), 0ms);
  for (auto bad : {"", "5", "s", "-5s", "5 weeks"}) EXPECT_FALSE(config::parse_duration(bad));
}

TEST(Config, ReadsAddresses) {
  EXPECT_EQ(*config::parse_address("127.0.0.1:0"), (config::Address{"127.0.0.1", 0}));
  EXPECT_EQ(*config::parse_address("[::1]:9092"), (config::Address{"::1", 9092}));
  EXPECT_EQ(config::parse_address("[::1]:9092")->to_string(), "[::1]:9092");
  for (auto bad : {"", "9092", ":9092", "a:65536", "a:-1", "a:", "::1:9092", "[]:1", "a b:1"}) {
    EXPECT_FALSE(config::parse_address(bad)) << bad;
  }
}

TEST(Nearest, FindsTypingErrorsAndNothingFar) {
  constexpr std::string_view kKnown[] = {"retention.ms", "retention.bytes", "segment.ms"};
  EXPECT_EQ(nearest("retention.m", kKnown), "retention.ms");
  EXPECT_EQ(nearest("RETENTION.MS", kKnown), "retention.ms");
  EXPECT_EQ(nearest("colour", kKnown), "");
  EXPECT_EQ(nearest("", kKnown), "");
}

}  // namespace
}  // namespace millrace

#include "kafka/detail/frame_decoder.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

namespace millrace::kafka {
namespace {

std::string framed(std::string_view body) {
  std::string bytes(4, '\0');
  for (int i = 0; i < 4; ++i) bytes[i] = static_cast<char>(body.size() >> (24 - 8 * i));
  return bytes + std::string(body);
}

/// Feeds `bytes` in pieces of at most `piece` and gives the frames.
Result<std::vector<std::string>> decode(FrameDecoder& decoder, std::string_view bytes,
                                        size_t piece) {
  std::vector<std::string> frames;
  while (!bytes.empty()) {
    auto space = decoder.space();
    EXPECT_FALSE(space.empty());
    const size_t n = std::min({piece, space.size(), bytes.size()});
    std::memcpy(space.data(), bytes.data(), n);
    bytes.remove_prefix(n);
    decoder.filled(n);
    while (true) {
      MR_TRY(auto frame, decoder.next());
      if (!frame) break;
      frames.push_back(std::move(*frame));
    }
  }
  return frames;
}

TEST(FrameDecoder, CutsFramesOfAnySizeInAnyPieces) {
  std::mt19937 random(1);
  for (size_t piece : {1ul, 3ul, 1000ul, 16384ul, 100000ul}) {
    std::vector<std::string> frames;
    std::string bytes;
    for (size_t size : {1ul, 10ul, 16379ul, 16380ul, 16381ul, 16384ul, 5ul, 300000ul, 70000ul}) {
      std::string body(size, '\0');
      for (auto& c : body) c = static_cast<char>(random());
      bytes += framed(body);
      frames.push_back(std::move(body));
    }
    FrameDecoder decoder(1 << 20);
    auto got = decode(decoder, bytes, piece);
    ASSERT_TRUE(got) << got.error().text;
    ASSERT_EQ(got->size(), frames.size());
    for (size_t i = 0; i < frames.size(); ++i) {
      EXPECT_TRUE((*got)[i] == frames[i]) << i << ": " << (*got)[i].size() << " bytes";
    }
  }
}

TEST(FrameDecoder, RefusesHostileLengths) {
  for (std::string_view length : {"\xff\xff\xff\xff", "\x7f\xff\xff\xff", "\x00\x00\x04\x01"}) {
    FrameDecoder decoder(1024);
    auto got = decode(decoder, std::string(length.data(), 4), 4);
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, ErrorCode::kProtocol);
  }
  FrameDecoder decoder(1024);
  EXPECT_FALSE(decode(decoder, std::string(4, '\0'), 4));
}

TEST(FrameDecoder, TakesMemoryOnlyForBytesThatCame) {
  FrameDecoder decoder(100 << 20);
  auto got = decode(decoder, std::string_view("\x06\x00\x00\x00 hello", 10), 10);
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->empty());
  EXPECT_LE(decoder.space().size(), 4 * FrameDecoder::kBufferBytes);
}

}  // namespace
}  // namespace millrace::kafka

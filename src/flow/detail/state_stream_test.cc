#include "flow/detail/state_stream.h"

#include <gtest/gtest.h>

#include <deque>

namespace millrace::flow {
namespace {

struct Blocks {
  std::deque<std::string> kept;
  StateWriter writer() {
    return StateWriter([this](std::string block) { kept.push_back(std::move(block)); });
  }
  StateReader reader() {
    return StateReader([this]() -> Result<std::string> {
      if (kept.empty()) return std::string();
      auto block = std::move(kept.front());
      kept.pop_front();
      return block;
    });
  }
};

TEST(StateStream, ValuesComeBackAcrossBlocks) {
  Blocks blocks;
  auto out = blocks.writer();
  out.begin("numbers", 3);
  const std::string large(3'000'000, 'x');
  for (int64_t i = 0; i < 400'000; ++i) {
    out.number(i - 200'000);
    if (i % 1000 == 0) out.bytes(std::to_string(i));
  }
  out.bytes(large);
  out.number(true);
  out.finish();
  EXPECT_GT(blocks.kept.size(), 3u);

  auto in = blocks.reader();
  ASSERT_TRUE(in.begin("numbers", 3));
  for (int64_t i = 0; i < 400'000; ++i) {
    ASSERT_EQ(in.number<int64_t>(), i - 200'000);
    if (i % 1000 == 0) ASSERT_EQ(in.bytes(), std::to_string(i));
  }
  EXPECT_EQ(in.bytes(), large);
  EXPECT_TRUE(in.number<bool>());
  EXPECT_TRUE(in.result());
  in.number<int64_t>();
  EXPECT_FALSE(in.ok());
}

TEST(StateStream, AnotherStateOrVersionIsRefused) {
  for (const auto& [what, version] : {std::pair("join", 1u), std::pair("aggregate", 2u)}) {
    Blocks blocks;
    auto out = blocks.writer();
    out.begin("aggregate", 1);
    out.number(int64_t{7});
    out.finish();
    auto in = blocks.reader();
    EXPECT_FALSE(in.begin(what, version));
    EXPECT_EQ(in.number<int64_t>(), 0) << "nothing is read after a failure";
    EXPECT_EQ(in.bytes(), "");
    const auto result = in.result();
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kCorruptRecord);
    EXPECT_NE(result.error().text.find("aggregate (version 1) is there"), std::string::npos);
  }
}

}  // namespace
}  // namespace millrace::flow

#include "base/owned_bytes.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(OwnedBytesTest, APartStaysWhereItIsAndIsCopiedWhenTaken) {
  std::string frame = "head" + std::string(100, 'x') + "tail";
  const char* at = frame.data() + 4;
  OwnedBytes part(std::move(frame), 4, 100);
  OwnedBytes moved = std::move(part);
  EXPECT_EQ(moved.data(), at);
  EXPECT_EQ(moved.view(), std::string(100, 'x'));
  EXPECT_EQ(part.size(), 0u);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(part.view(), "");
  EXPECT_EQ(std::move(moved).take(), std::string(100, 'x'));
}

TEST(OwnedBytesTest, AWholeStringIsTakenAsItIs) {
  std::string whole(100, 'x');
  const char* at = whole.data();
  OwnedBytes bytes = std::move(whole);
  const std::string taken = std::move(bytes).take();
  EXPECT_EQ(taken.data(), at);
}

TEST(OwnedBytesTest, ShortOnesSurviveTheirMoves) {
  OwnedBytes a(std::string("abc"), 1, 1);
  OwnedBytes b;
  b = std::move(a);
  EXPECT_EQ(b.view(), "b");
}

}  // namespace
}  // namespace millrace

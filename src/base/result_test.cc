#include "base/result.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

Result<int> half(int x) {
  if (x % 2 != 0) return Error{ErrorCode::kInvalidArgument, "odd"};
  return x / 2;
}

Result<int> quarter(int x) {
  MR_TRY(auto h, half(x));
  MR_TRY(half(h));
  return half(h);
}

TEST(Result, TryPassesTheErrorUpAndTheValueOn) {
  EXPECT_EQ(*quarter(8), 2);
  auto bad = quarter(6);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, ErrorCode::kInvalidArgument);
}

TEST(Errors, EveryCodeHasASqlstateOfFiveCharactersAndAMeaning) {
  for (auto code : {
#define MR_ERROR(name, ...) ErrorCode::name,
#include "base/errors.def"
#undef MR_ERROR
       }) {
    EXPECT_EQ(info(code).sqlstate.size(), 5u) << info(code).name;
    EXPECT_FALSE(info(code).meaning.empty()) << info(code).name;
  }
}

}  // namespace
}  // namespace millrace

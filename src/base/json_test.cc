#include "base/json.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(Json, QuotesWhatAStringMayNotHold) {
  std::string out = "x";
  append_json_string("a\"b\\c\n\r\t\x01\x1f é", out);
  EXPECT_EQ(out, "x\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u001f é\"");
}

}  // namespace
}  // namespace millrace

#include "base/json.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(Json, QuotesWhatAStringMayNotHold) {
  std::string out = "x";
  append_json_string("a\"b\\c\n\r\t\x01\x1f é", out);
  EXPECT_EQ(out, "x\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u001f é\"");
}

TEST(Json, FindsWhatIsToBeQuotedAtEveryPlace) {
  for (size_t length = 1; length < 40; ++length) {
    for (size_t at = 0; at < length; ++at) {
      for (const auto& [odd, quoted] : {std::pair{'"', "\\\""},
                                        {'\x1f', "\\u001f"},
                                        {'\n', "\\n"},
                                        {'\x80', "\x80"},
                                        {'\x7f', "\x7f"},
                                        {' ', " "}}) {
        std::string text(length, 'a');
        text[at] = odd;
        std::string out;
        append_json_string(text, out);
        EXPECT_EQ(out,
                  '"' + std::string(at, 'a') + quoted + std::string(length - at - 1, 'a') + '"');
      }
    }
  }
}

}  // namespace
}  // namespace millrace

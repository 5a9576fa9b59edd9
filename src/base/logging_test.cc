#include "base/logging.h"

#include <gmock/gmock.h>

#include <limits>

namespace millrace::logging {
namespace {

using testing::MatchesRegex;

class Logging : public testing::Test {
 protected:
  ~Logging() override { configure(Level::kInfo, Format::kText); }

  static std::string captured(Level level, std::string_view what,
                              std::initializer_list<Field> fields) {
    testing::internal::CaptureStderr();
    write(level, what, fields);
    return testing::internal::GetCapturedStderr();
  }
};

TEST_F(Logging, WritesALineOfText) {
  configure(Level::kInfo, Format::kText);
  EXPECT_THAT(captured(Level::kInfo, "node ready", {{"kafka", "127.0.0.1:9092"}, {"cores", 2}}),
              MatchesRegex("[0-9]+-[0-9]+-[0-9]+T[0-9]+:[0-9]+:[0-9]+.[0-9]+Z info  node ready "
                           "kafka=127.0.0.1:9092 cores=2\n"));
}

TEST_F(Logging, QuotesAndEscapesValuesOfText) {
  const std::string line =
      captured(Level::kWarn, "x", {{"a", "my data"}, {"b", ""}, {"c", "q\"\n\x1b"}, {"d", "\xff"}});
  EXPECT_EQ(line.substr(line.find(' ') + 1),
            "warn  x a=\"my data\" b=\"\" c=\"q\\\"\\n\\u001b\" d=\"\\ufffd\"\n");
}

TEST_F(Logging, WritesOneJsonObjectALine) {
  configure(Level::kInfo, Format::kJson);
  const std::string line = captured(
      Level::kError, "it \"failed\"",
      {{"n", 3}, {"ok", true}, {"s", "a\tb ü"}, {"x", std::numeric_limits<double>::infinity()}});
  EXPECT_THAT(line, MatchesRegex("\\{\"time\":\"[-0-9T:.]+Z\",.*\\}\n"));
  EXPECT_EQ(line.substr(line.find(",") + 1),
            "\"level\":\"error\",\"what\":\"it \\\"failed\\\"\",\"n\":3,\"ok\":true,"
            "\"s\":\"a\\u0009b ü\",\"x\":\"inf\"}\n");
}

TEST_F(Logging, LeavesOutWhatIsBelowTheLevel) {
  EXPECT_EQ(captured(Level::kDebug, "quiet", {}), "");
  configure(Level::kDebug, Format::kText);
  EXPECT_NE(captured(Level::kDebug, "loud", {}), "");
  EXPECT_TRUE(enabled(Level::kDebug));
}

}  // namespace
}  // namespace millrace::logging

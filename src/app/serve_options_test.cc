#include "app/serve_options.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace millrace {
namespace {

using config::Config;
using config::Inputs;
using config::Source;
using testing::HasSubstr;

const char* nothing(const char*) { return nullptr; }

/// A configuration file that lives as long as the test.
class File {
 public:
  explicit File(std::string_view text)
      : path_(std::filesystem::temp_directory_path() /
              ("millrace-config-" + std::to_string(getpid()) + ".conf")) {
    std::ofstream(path_) << text;
  }
  ~File() { std::filesystem::remove(path_); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

TEST(ServeOptions, FlagWinsOverEnvironmentOverFileOverDefault) {
  File file("# a comment\nkafka = 127.0.0.1:1\nlog_level = \"warn\" # why\npg=127.0.0.1:1\n");
  Inputs inputs;
  inputs.file = file.path();
  inputs.environment = [](const char* name) -> const char* {
    return std::string_view(name) == "MILLRACE_KAFKA" || std::string_view(name) == "MILLRACE_PG"
               ? "127.0.0.1:2"
               : nullptr;
  };
  inputs.flags = {{"kafka", "127.0.0.1:3"}};
  auto loaded = Config::load(ServeOptions::declared(), inputs);
  ASSERT_TRUE(loaded) << loaded.error().text;
  EXPECT_EQ(loaded->address("kafka").port, 3);
  EXPECT_EQ(loaded->source("kafka"), Source::kFlag);
  EXPECT_EQ(loaded->address("pg").port, 2);
  EXPECT_EQ(loaded->text("log-level"), "warn");
  EXPECT_EQ(loaded->source("log-level"), Source::kFile);
  EXPECT_EQ(loaded->address("http").port, 8080);
  EXPECT_EQ(loaded->source("http"), Source::kDefault);
}

TEST(ServeOptions, SaysWhichOptionFromWhereAndWhatIsAllowed) {
  Inputs inputs;
  inputs.environment = nothing;
  inputs.flags = {{"log-level", "loud"}};
  auto loaded = Config::load(ServeOptions::declared(), inputs);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, ErrorCode::kInvalidConfig);
  EXPECT_EQ(loaded.error().text,
            "option log-level (--log-level): \"loud\" is not allowed; allowed: debug, info, warn, "
            "error");

  inputs.flags = {{"cores", "-1"}};
  EXPECT_THAT(Config::load(ServeOptions::declared(), inputs).error().text,
              HasSubstr("allowed: 0 to 1024"));

  File file("kafka = 127.0.0.1:1\nmemry = 1GB\n");
  inputs.flags.clear();
  inputs.file = file.path();
  EXPECT_THAT(Config::load(ServeOptions::declared(), inputs).error().text,
              HasSubstr(".conf:2: no option \"memry\"; did you mean \"memory\"?"));
}

TEST(ServeOptions, RefusesFilesThatAreNotLinesOfValues) {
  for (auto text : {"[section]", "kafka", "data = \"open", "data = 'a' b", "pg=a:1\npg=a:2"}) {
    File file(text);
    auto loaded = Config::load(ServeOptions::declared(),
                               {.flags = {}, .file = file.path(), .environment = nothing});
    ASSERT_FALSE(loaded) << text;
    EXPECT_EQ(loaded.error().code, ErrorCode::kInvalidConfig);
  }
  auto missing =
      Config::load(ServeOptions::declared(),
                   {.flags = {}, .file = "/nonexistent/millrace.conf", .environment = nothing});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
}

TEST(ServeOptions, GivesTypedServeOptions) {
  Inputs inputs;
  inputs.environment = nothing;
  EXPECT_THAT(ServeOptions::load(inputs).error().text, HasSubstr("--data DIR"));
  inputs.flags = {{"data", "/tmp/x"}, {"memory", "2GiB"}, {"auto-create-topics", "no"}};
  auto options = ServeOptions::load(inputs);
  ASSERT_TRUE(options) << options.error().text;
  EXPECT_EQ(options->data, "/tmp/x");
  EXPECT_EQ(options->memory_bytes, 2ull << 30);
  EXPECT_FALSE(options->auto_create_topics);
  EXPECT_TRUE(options->pg_may_move);
  EXPECT_EQ(options->kafka.to_string(), "127.0.0.1:9092");
  EXPECT_EQ(options->kafka_advertised, "");
}

}  // namespace
}  // namespace millrace

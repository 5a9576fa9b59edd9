#include <gmock/gmock.h>

#include "broker/broker.h"

namespace millrace::broker {
namespace {

using testing::HasSubstr;
using Options = std::map<std::string, std::string>;

TEST(TopicOptions, HaveDefaultsThatTheyAllow) {
  for (const auto& option : topic_options()) {
    auto config = to_log_config({{std::string(option.name), std::string(option.default_value)}});
    EXPECT_TRUE(config) << config.error().text;
    EXPECT_FALSE(option.doc.empty()) << option.name;
  }
}

TEST(TopicOptions, BecomeTheLogsConfiguration) {
  const Options options = {
      {"segment.bytes", "1048576"},  {"segment.ms", "60000"},
      {"retention.ms", "1000"},      {"retention.bytes", "2000"},
      {"max.message.bytes", "3000"}, {"message.timestamp.type", "LogAppendTime"},
      {"durability", "os"}};
  auto config = to_log_config(options);
  ASSERT_TRUE(config);
  EXPECT_EQ(config->segment_bytes, 1048576u);
  EXPECT_EQ(config->segment_ms, 60000);
  EXPECT_EQ(config->retention_ms, 1000);
  EXPECT_EQ(config->retention_bytes, 2000);
  EXPECT_EQ(config->batch_bytes_max, 3000u);
  EXPECT_EQ(config->timestamp_type, log::TimestampType::kLogAppendTime);
  EXPECT_EQ(config->durability, log::Durability::kOs);

  auto none = to_log_config({});
  ASSERT_TRUE(none);
  EXPECT_EQ(none->retention_ms, 604800000);
  EXPECT_EQ(none->batch_bytes_max, 1048588u);
  EXPECT_EQ(none->durability, log::Durability::kFsync);
}

TEST(TopicOptions, KeepCompactedTopicsForEver) {
  auto compact = to_log_config({{"cleanup.policy", "compact"}, {"retention.ms", "1"}});
  EXPECT_FALSE(compact->cleanup_delete);
  EXPECT_TRUE(compact->cleanup_compact);
  auto both = to_log_config({{"cleanup.policy", "compact, delete"}, {"retention.ms", "1"}});
  EXPECT_EQ(both->retention_ms, 1);
  EXPECT_TRUE(both->cleanup_delete && both->cleanup_compact);
}

TEST(TopicOptions, AreRefusedByNameAndValue) {
  const std::pair<const char*, const char*> kBad[] = {
      {"retention.ms", "-2"},       {"retention.ms", "7d"},
      {"retention.ms", ""},         {"segment.bytes", "1"},
      {"max.message.bytes", "-1"},  {"cleanup.policy", "shred"},
      {"cleanup.policy", ""},       {"compression.type", "rar"},
      {"durability", "hope"},       {"on_error", "panic"},
      {"preallocate", "yes"},       {"min.cleanable.dirty.ratio", "1.5"},
      {"min.insync.replicas", "0"}, {"remote.storage.enable", "true"},
      {"segment.ms", "1e3"},        {"index.interval.bytes", "99999999999"},
  };
  for (const auto& [name, value] : kBad) {
    auto config = to_log_config({{name, value}});
    ASSERT_FALSE(config) << name << "=" << value;
    EXPECT_EQ(config.error().code, ErrorCode::kInvalidConfig);
    EXPECT_THAT(config.error().text, HasSubstr(name));
    EXPECT_THAT(config.error().text, HasSubstr("allowed: "));
  }
  auto unknown = to_log_config({{"retention.millis", "1"}});
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().text, HasSubstr("retention.millis"));
  EXPECT_THAT(unknown.error().hint, HasSubstr("retention.ms"));
}

TEST(TopicOptions, DependOnTheKind) {
  catalog::Object object;
  EXPECT_EQ(effective_options(object)["format"], "raw");
  object.columns = {{.name = "a", .type = "BIGINT"}};
  EXPECT_EQ(effective_options(object)["format"], "json");
  EXPECT_EQ(effective_options(object)["cleanup.policy"], "delete");
  object.kind = catalog::Kind::kTable;
  EXPECT_EQ(effective_options(object)["cleanup.policy"], "compact");
  object.options = {{"cleanup.policy", "delete"}};
  EXPECT_EQ(effective_options(object)["cleanup.policy"], "delete");
  EXPECT_EQ(effective_options(object).size(), topic_options().size());
}

TEST(TopicNames, FollowKafkasRules) {
  for (auto good : {"a", "A-b_c.9", "...", "__consumer_offsets"}) {
    EXPECT_TRUE(check_topic_name(good)) << good;
  }
  EXPECT_TRUE(check_topic_name(std::string(249, 'x')));
  for (auto bad : {"", ".", "..", "a b", "a/b", "ä", "a\n"}) {
    EXPECT_EQ(check_topic_name(bad).error().code, ErrorCode::kInvalidName) << bad;
  }
  EXPECT_FALSE(check_topic_name(std::string(250, 'x')));
  EXPECT_FALSE(check_topic_name(std::string_view("a\0b", 3)));
}

}  // namespace
}  // namespace millrace::broker

#include "broker/group_configs.h"

#include "broker/broker_test_util.h"

namespace millrace::broker {

namespace {

class GroupConfigsTest : public BrokerTest {
 protected:
  GroupConfigsTest() { open_configs(); }
  void open_configs() {
    auto opened = shard().block_on(GroupConfigs::open(runtime_, env_, *broker_));
    ASSERT_TRUE(opened) << opened.error().text;
    configs_ = std::move(*opened);
  }
  Result<> alter(std::string name, std::optional<std::string> value, bool validate_only = false) {
    return shard().block_on(
        configs_->alter("g", {{std::move(name), std::move(value)}}, validate_only));
  }
  std::unique_ptr<GroupConfigs> configs_;
};

TEST_F(GroupConfigsTest, AGroupsOwnValueIsBeforeTheDefault) {
  EXPECT_EQ(configs_->text("g", "share.auto.offset.reset"), "latest");
  EXPECT_EQ(configs_->integer("g", "share.record.lock.duration.ms"), 30'000);
  ASSERT_TRUE(alter("share.auto.offset.reset", "earliest"));
  EXPECT_EQ(configs_->text("g", "share.auto.offset.reset"), "earliest");
  EXPECT_EQ(configs_->text("h", "share.auto.offset.reset"), "latest");
  ASSERT_TRUE(alter("share.auto.offset.reset", std::nullopt));
  EXPECT_EQ(configs_->text("g", "share.auto.offset.reset"), "latest");
  EXPECT_TRUE(configs_->groups().empty());
}

TEST_F(GroupConfigsTest, SurvivesARestart) {
  ASSERT_TRUE(alter("share.record.lock.duration.ms", "2000"));
  configs_.reset();
  reopen();
  open_configs();
  EXPECT_EQ(configs_->integer("g", "share.record.lock.duration.ms"), 2000);
  EXPECT_EQ(configs_->groups(), std::vector<std::string>{"g"});
}

TEST_F(GroupConfigsTest, RefusesWhatIsNotAllowedAndChangesNothing) {
  EXPECT_FALSE(alter("share.record.lock.duration.ms", "1"));
  EXPECT_FALSE(alter("share.record.lock.duration.ms", "30s"));
  EXPECT_FALSE(alter("share.auto.offset.reset", "by_duration:"));
  ASSERT_FALSE(alter("share.auto.ofset.reset", "earliest"));
  EXPECT_EQ(alter("share.auto.ofset.reset", "earliest").error().hint,
            "Did you mean \"share.auto.offset.reset\"?");
  ASSERT_TRUE(alter("share.auto.offset.reset", "by_duration:PT1H", true));
  EXPECT_TRUE(configs_->own("g").empty());
}

}  // namespace

}  // namespace millrace::broker

#include "broker/journal.h"

#include "broker/broker_test_util.h"

namespace millrace::broker {

namespace {

using Map = std::map<std::string, std::string>;

class JournalTest : public BrokerTest {
 protected:
  Map loaded() {
    Map map;
    auto journal = Journal::make(env_, *broker_, "__consumer_offsets");
    auto loaded = shard().block_on(journal->load([&](auto key, auto value) {
      if (value) {
        map[std::string(key)] = *value;
      } else {
        map.erase(std::string(key));
      }
    }));
    EXPECT_TRUE(loaded);
    return map;
  }
};

TEST_F(JournalTest, KeepsTheLastValueOfEachKeyOverARestart) {
  {
    auto journal = Journal::make(env_, *broker_, "__consumer_offsets");
    ASSERT_TRUE(shard().block_on(journal->put({{"a", "1"}, {"b", "2"}})));
    ASSERT_TRUE(shard().block_on(journal->put({{"a", "3"}, {"b", std::nullopt}})));
  }
  reopen();
  EXPECT_EQ(loaded(), (Map{{"a", "3"}}));
}

TEST_F(JournalTest, HasNoTopicBeforeTheFirstWrite) {
  EXPECT_EQ(loaded(), Map());
  auto journal = Journal::make(env_, *broker_, "__consumer_offsets");
  ASSERT_TRUE(shard().block_on(journal->put({})));
  EXPECT_EQ(broker_->find("__consumer_offsets"), nullptr);
}

TEST_F(JournalTest, SaysWhenTheDiskIsFull) {
  auto journal = Journal::make(env_, *broker_, "__consumer_offsets");
  ASSERT_TRUE(shard().block_on(journal->put({{"a", "1"}})));
  env_.files().fail_after(0, ErrorCode::kDiskFull, 1000);
  EXPECT_FALSE(shard().block_on(journal->put({{"a", "2"}})));
  env_.files().heal();
  ASSERT_TRUE(shard().block_on(journal->put({{"c", "4"}})));
  EXPECT_EQ(loaded(), (Map{{"a", "1"}, {"c", "4"}}));
}

}  // namespace

}  // namespace millrace::broker

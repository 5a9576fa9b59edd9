#include "broker/detail/look_back.h"

#include "broker/broker_test_util.h"

namespace millrace::broker::detail {
namespace {

using testing::ElementsAre;

class LookBackTest : public BrokerTest {
 protected:
  std::vector<std::string> read(LookBack wanted, TimestampMs now = 2'100) {
    auto records = runtime_.shard(1).block_on(
        read_look_back(look_back_sources(*broker_->find("t")), wanted, now));
    EXPECT_TRUE(records) << records.error().text;
    std::vector<std::string> out;
    for (const auto& record : (*records)->view().records) {
      out.emplace_back(record.value.value_or("null"));
    }
    return out;
  }
};

TEST_F(LookBackTest, GivesTheLastRecordsOfAllPartitionsOldestFirst) {
  const auto made = create(topic("t", 2));
  ASSERT_TRUE(made);
  EXPECT_THAT(read({.records = 3}), ElementsAre());
  auto& first = *(*made)->partitions.at(0);
  auto& second = *(*made)->partitions.at(1);
  ASSERT_TRUE(append(first, batch({"a", "b"}, 1'000)));
  ASSERT_TRUE(append(second, batch({"c"}, 500)));
  ASSERT_TRUE(append(first, batch({"d"}, 2'000)));
  EXPECT_THAT(read({.records = 2}), ElementsAre("b", "d"));
  EXPECT_THAT(read({.records = 100}), ElementsAre("c", "a", "b", "d"));
  EXPECT_THAT(read({.ms = 1'200}), ElementsAre("a", "b", "d"));
  EXPECT_THAT(read({.ms = 50}), ElementsAre());
}

TEST(LookBack, IsReadFromATransformsOptions) {
  catalog::Transform step;
  EXPECT_FALSE(look_back_of(step)->has_value());
  step.options["look_back_records"] = "7";
  EXPECT_EQ((*look_back_of(step))->records, 7u);
  step.options["look_back_records"] = "100001";
  EXPECT_EQ(look_back_of(step).error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace millrace::broker::detail

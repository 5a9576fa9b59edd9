#include "broker/detail/consumer_group.h"

#include "broker/detail/consumer_group_test_util.h"
#include "broker/detail/partition_set.h"

namespace millrace::broker::detail {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;

TEST_F(ConsumerGroupTest, OneMemberGetsAllAtOnce) {
  const auto answer = hear(join("a"));
  EXPECT_EQ(answer.member_id, "a");
  EXPECT_EQ(answer.member_epoch, 1);
  EXPECT_EQ(answer.heartbeat_interval_ms, 5000);
  EXPECT_EQ(answer.assignment, set("t", {0, 1, 2, 3}));
  EXPECT_EQ(group_->info().state, "Stable");
  // What has not changed is not said again, unless it is asked for by saying everything.
  EXPECT_EQ(hear(beat("a", 1)).assignment, std::nullopt);
  auto full = join("a");
  full.member_epoch = 1;
  full.owned = set("t", {0, 1});
  EXPECT_EQ(hear(full).assignment, set("t", {0, 1, 2, 3}));
}

TEST_F(ConsumerGroupTest, APartitionIsGivenUpBeforeItIsGivenOn) {
  const auto all = hear(join("a")).assignment;
  const auto late = hear(join("b"));
  EXPECT_EQ(late.member_epoch, 2);
  EXPECT_EQ(late.assignment, PartitionSet{});
  EXPECT_EQ(group_->info().state, "Reconciling");
  // The first hears that it is to keep half, and stays in its epoch until it has said so.
  const auto told = hear(beat("a", 1));
  EXPECT_EQ(told.member_epoch, 1);
  EXPECT_EQ(told.assignment, set("t", {0, 1}));
  EXPECT_EQ(hear(beat("a", 1, all)).assignment, std::nullopt);
  EXPECT_EQ(hear(beat("b", 2)).assignment, std::nullopt);
  const auto given_up = hear(beat("a", 1, set("t", {0, 1})));
  EXPECT_EQ(given_up.member_epoch, 2);
  EXPECT_EQ(hear(beat("b", 2)).assignment, set("t", {2, 3}));
  EXPECT_EQ(group_->info().state, "Stable");
}

TEST_F(ConsumerGroupTest, WhatALeavingMemberHadGoesToTheOthers) {
  hear(join("a"));
  hear(join("b"));
  EXPECT_EQ(hear(beat("a", kLeaveEpoch)).member_epoch, kLeaveEpoch);
  EXPECT_EQ(group_->info().state, "Assigning");
  const auto answer = hear(beat("b", 2));
  EXPECT_EQ(answer.member_epoch, 3);
  EXPECT_EQ(answer.assignment, set("t", {0, 1, 2, 3}));
  hear(beat("b", kLeaveEpoch));
  EXPECT_TRUE(group_->empty());
  EXPECT_EQ(group_->info().state, "Empty");
  EXPECT_EQ(journal_.size(), 1u);
  for (const auto& entry : group_->tombstones()) journal_.erase(entry.key);
  EXPECT_THAT(journal_, IsEmpty());
}

TEST_F(ConsumerGroupTest, AMemberOfAnotherEpochIsFenced) {
  hear(join("a"));
  EXPECT_EQ(refused(beat("a", 2)), ErrorCode::kFencedMemberEpoch);
  EXPECT_EQ(refused(beat("b", 1)), ErrorCode::kUnknownMember);
  EXPECT_EQ(refused(beat("b", kLeaveEpoch)), ErrorCode::kUnknownMember);
  hear(join("b"));
  hear(beat("a", 1));
  hear(beat("a", 1, set("t", {0, 1})));  // its epoch is 2 now
  // The answer was lost: it may still speak of the epoch before, if it owns nothing that it should
  // not; and it is told again.
  const auto again = hear(beat("a", 1, set("t", {0})));
  EXPECT_EQ(again.member_epoch, 2);
  EXPECT_EQ(again.assignment, set("t", {0, 1}));
  EXPECT_EQ(refused(beat("a", 1, set("t", {0, 3}))), ErrorCode::kFencedMemberEpoch);
  EXPECT_EQ(refused(beat("a", 1)), ErrorCode::kFencedMemberEpoch);
  // One who begins anew is let in with what it had.
  EXPECT_EQ(hear(join("a")).assignment, set("t", {0, 1}));
}

TEST_F(ConsumerGroupTest, AMemberThatIsNotHeardOfIsRemoved) {
  hear(join("a"));
  hear(join("b"));
  pass(seconds(30));
  hear(beat("b", 2));
  pass(seconds(20));
  EXPECT_EQ(refused(beat("a", 1)), ErrorCode::kUnknownMember);
  EXPECT_EQ(hear(beat("b", 2)).assignment, set("t", {0, 1, 2, 3}));
}

TEST_F(ConsumerGroupTest, AMemberThatDoesNotGiveUpInTimeIsRemoved) {
  const auto all = hear(join("a")).assignment;
  hear(join("b"));
  hear(beat("a", 1));
  for (int i = 0; i < 3; ++i) {
    pass(seconds(3));
    hear(beat("a", 1, all));
    hear(beat("b", 2));
  }
  pass(seconds(2));
  EXPECT_EQ(refused(beat("a", 1, all)), ErrorCode::kUnknownMember);
  EXPECT_EQ(hear(beat("b", 2)).assignment, set("t", {0, 1, 2, 3}));
}

TEST_F(ConsumerGroupTest, AStaticMemberComesBackToWhatItHad) {
  auto first = join("a");
  first.instance_id = "i";
  hear(first);
  hear(join("b"));
  hear(beat("a", 1));
  auto acknowledged = beat("a", 1, set("t", {0, 1}));
  acknowledged.instance_id = "i";
  hear(acknowledged);
  hear(beat("b", 2));

  auto second = join("a2");
  second.instance_id = "i";
  EXPECT_EQ(refused(second), ErrorCode::kUnreleasedInstance);
  auto gone = beat("a", kStaticLeaveEpoch);
  gone.instance_id = "i";
  EXPECT_EQ(hear(gone).member_epoch, kStaticLeaveEpoch);
  // Nobody gets what it had meanwhile.
  EXPECT_EQ(hear(beat("b", 2)).assignment, std::nullopt);
  restart();
  const auto back = hear(second);
  EXPECT_EQ(back.member_id, "a2");
  EXPECT_EQ(back.member_epoch, 2);
  EXPECT_EQ(back.assignment, set("t", {0, 1}));
  EXPECT_EQ(hear(beat("b", 2)).member_epoch, 2);
  // Its predecessor finds the place taken.
  auto old = beat("a", 2);
  old.instance_id = "i";
  EXPECT_EQ(refused(old), ErrorCode::kFencedInstance);
  EXPECT_EQ(refused(beat("a", 2)), ErrorCode::kUnknownMember);
  old.instance_id = "j";
  EXPECT_EQ(refused(old), ErrorCode::kUnknownMember);
  auto leave = beat("a2", kLeaveEpoch);
  leave.instance_id = "i";
  hear(leave);
  EXPECT_EQ(hear(beat("b", 2)).assignment, set("t", {0, 1, 2, 3}));
}

TEST_F(ConsumerGroupTest, AStaticMemberThatDoesNotComeBackLosesItsPlace) {
  auto request = join("a");
  request.instance_id = "i";
  hear(request);
  request = beat("a", kStaticLeaveEpoch);
  request.instance_id = "i";
  hear(request);
  EXPECT_EQ(hear(join("b")).assignment, PartitionSet{});
  for (int i = 0; i < 4; ++i) {
    pass(seconds(12));
    hear(beat("b", group_->info().members.back().epoch));
  }
  EXPECT_EQ(group_->info().members.size(), 1u);
  EXPECT_EQ(group_->info().members[0].assigned, set("t", {0, 1, 2, 3}));
}

TEST_F(ConsumerGroupTest, AnInstanceIdMayMoveToAMemberThatIsThere) {
  auto one = join("a");
  one.instance_id = "i";
  hear(one);
  auto two = join("b");
  two.instance_id = "j";
  hear(two);
  auto gone = beat("a", kStaticLeaveEpoch);
  gone.instance_id = "i";
  hear(gone);
  // "b" says that it is "i" now: "a" is gone for ever, and so is "j".
  auto moved = join("b");
  moved.instance_id = "i";
  hear(moved);
  EXPECT_EQ(group_->info().members.size(), 1u);
  auto old = beat("b", 1);
  old.instance_id = "j";
  EXPECT_EQ(refused(old), ErrorCode::kUnknownMember);
  auto leave = beat("b", kLeaveEpoch);
  leave.instance_id = "i";
  hear(leave);
  EXPECT_TRUE(group_->empty());
}

TEST_F(ConsumerGroupTest, TopicsThatComeGrowAndGoAreFollowed) {
  set_topics({});
  EXPECT_EQ(hear(join("a")).assignment, PartitionSet{});
  set_topics({{"t", 1}, {"other", 3}});
  EXPECT_EQ(hear(beat("a", 1)).assignment, set("t", {0}));
  set_topics({{"t", 3}});
  EXPECT_EQ(hear(beat("a", 2)).assignment, set("t", {0, 1, 2}));
  set_topics({{"t", 3}, {"unrelated", 1}});
  EXPECT_EQ(hear(beat("a", 3)).member_epoch, 3);
  set_topics({});
  EXPECT_EQ(hear(beat("a", 3)).assignment, PartitionSet{});
  EXPECT_EQ(hear(beat("a", 3, PartitionSet{})).member_epoch, 4);
}

TEST_F(ConsumerGroupTest, APatternIsMatchedWholeAgainstTopicsOfNowAndLater) {
  set_topics({{"logs-a", 1}, {"logs-b", 1}, {"my-logs-a", 1}});
  auto request = join("a", {});
  request.topic_names.reset();
  request.topic_regex = "logs-.*";
  auto expected = sum(set("logs-a", {0}), set("logs-b", {0}));
  EXPECT_EQ(hear(request).assignment, expected);
  set_topics({{"logs-a", 1}, {"logs-b", 1}, {"logs-c", 2}});
  expected = sum(expected, set("logs-c", {0, 1}));
  EXPECT_EQ(hear(beat("a", 1)).assignment, expected);
  EXPECT_THAT(group_->subscribed("logs-c"), Optional(true));
  EXPECT_THAT(group_->subscribed("my-logs-a"), Optional(false));
  request = beat("a", 2);
  request.topic_regex = "";
  EXPECT_EQ(hear(request).assignment, PartitionSet{});
  request = join("b", {});
  request.topic_regex = "(";
  EXPECT_EQ(refused(request), ErrorCode::kInvalidRegex);
  request.topic_regex = "(a|(";
  EXPECT_EQ(refused(request), ErrorCode::kInvalidRegex);
  request.topic_regex = "((((a{1,1000}){1,1000}){1,1000}";
  EXPECT_EQ(refused(request), ErrorCode::kInvalidRegex);
}

TEST_F(ConsumerGroupTest, WrongRequestsAreRefusedAndChangeNothing) {
  const auto invalid = [&](auto change) {
    auto request = join("a");
    change(request);
    EXPECT_EQ(refused(request), ErrorCode::kInvalidArgument);
  };
  invalid([](ConsumerHeartbeat& r) { r.group = " "; });
  invalid([](ConsumerHeartbeat& r) { r.member_id = ""; });
  invalid([](ConsumerHeartbeat& r) { r.instance_id = ""; });
  invalid([](ConsumerHeartbeat& r) { r.rack_id = ""; });
  invalid([](ConsumerHeartbeat& r) { r.rebalance_timeout_ms = -1; });
  invalid([](ConsumerHeartbeat& r) { r.owned.reset(); });
  invalid([](ConsumerHeartbeat& r) { r.owned.emplace()[topic_id(0)] = {1}; });
  invalid([](ConsumerHeartbeat& r) { r.topic_names.reset(); });
  invalid([](ConsumerHeartbeat& r) { r.member_epoch = -3; });
  invalid([](ConsumerHeartbeat& r) { r.topic_names->resize(2000, std::string(1000, 'x')); });
  invalid([](ConsumerHeartbeat& r) { r.member_epoch = kStaticLeaveEpoch; });
  auto request = join("a");
  request.assignor = "mine";
  EXPECT_EQ(refused(request), ErrorCode::kUnsupportedAssignor);
  EXPECT_TRUE(group_->empty());
  EXPECT_THAT(journal_, IsEmpty());
  members_max_ = 1;
  restart();
  hear(join("a"));
  EXPECT_EQ(refused(join("b")), ErrorCode::kGroupFull);
  hear(join("a"));
}

TEST_F(ConsumerGroupTest, TheAssignorThatMostWantIsTaken) {
  set_topics({{"t", 3}, {"u", 3}});
  auto request = join("a", {"t", "u"});
  request.assignor = "range";
  hear(request);
  EXPECT_EQ(group_->info().assignor, "range");
  hear(join("b", {"t", "u"}));
  EXPECT_EQ(group_->info().members[1].target, sum(set("t", {2}), set("u", {2})));
}

TEST_F(ConsumerGroupTest, OffsetsAreCommittedByMembersOfTheEpoch) {
  EXPECT_TRUE(group_->check_commit({"", -1, {}}, false, now_));
  hear(join("a"));
  EXPECT_TRUE(group_->check_commit({"a", 1, {}}, false, now_));
  EXPECT_EQ(group_->check_commit({"a", 2, {}}, false, now_).error().code,
            ErrorCode::kStaleMemberEpoch);
  EXPECT_EQ(group_->check_commit({"b", 1, {}}, false, now_).error().code,
            ErrorCode::kUnknownMember);
  EXPECT_EQ(group_->check_commit({"", -1, {}}, false, now_).error().code,
            ErrorCode::kUnknownMember);
  EXPECT_TRUE(group_->check_commit({"", -1, {}}, true, now_));
  EXPECT_TRUE(group_->check_fetch({"a", 1, {}}));
  EXPECT_TRUE(group_->check_fetch({"", -1, {}}));
  EXPECT_EQ(group_->check_fetch({"a", 0, {}}).error().code, ErrorCode::kStaleMemberEpoch);
  EXPECT_EQ(group_->check_fetch({"b", 0, {}}).error().code, ErrorCode::kUnknownMember);
}

TEST_F(ConsumerGroupTest, ARestartIsNotNoticedByMembers) {
  hear(join("a"));
  hear(join("b"));
  hear(beat("a", 1));
  const auto before = group_->info();
  restart();
  EXPECT_EQ(group_->info().epoch, before.epoch);
  // It was asked to give up two before; it says so after.
  EXPECT_EQ(hear(beat("a", 1, set("t", {0, 1}))).member_epoch, 2);
  EXPECT_EQ(hear(beat("b", 2)).assignment, set("t", {2, 3}));
  restart();
  EXPECT_EQ(hear(beat("a", 2)).assignment, std::nullopt);
  EXPECT_EQ(hear(beat("b", 2)).assignment, std::nullopt);
  EXPECT_EQ(group_->info().epoch, 2);
  EXPECT_EQ(group_->info().state, "Stable");
  // A topic that grew while nobody looked is noticed.
  restart();
  set_topics({{"t", 5}});
  EXPECT_EQ(hear(beat("a", 2)).member_epoch, 3);
  // Who does not come back is removed.
  restart();
  pass(seconds(46));
  EXPECT_TRUE(group_->empty());
}

TEST_F(ConsumerGroupTest, WhatCouldNotBeWrittenIsWrittenLater) {
  ASSERT_TRUE(group_->heartbeat(join("a"), topics_, now_));
  std::vector<bool> heard;
  group_->when_written([&](const Result<>& written) { heard.push_back(bool(written)); });
  EXPECT_THAT(heard, IsEmpty());
  auto writes = group_->take_writes();
  ASSERT_EQ(writes.size(), 1u);
  EXPECT_THAT(group_->take_writes(), IsEmpty());
  writes[0].done(Error{ErrorCode::kDiskFull, "full"});
  EXPECT_THAT(heard, ElementsAre(false));
  // Not at once, but before the member is told anything again.
  EXPECT_THAT(group_->take_writes(), IsEmpty());
  group_->when_written([&](const Result<>& written) { heard.push_back(bool(written)); });
  EXPECT_THAT(heard, ElementsAre(false));
  keep();
  EXPECT_THAT(heard, ElementsAre(false, true));
  EXPECT_EQ(journal_.size(), 2u);
  restart();
  EXPECT_EQ(hear(beat("a", 1)).member_epoch, 1);
}

TEST_F(ConsumerGroupTest, ADamagedJournalIsReported) {
  hear(join("a"));
  for (const auto& [key, value] : journal_) {
    for (const std::string wrong : {"", "{}", "[]", "{\"v\":2}", "{\"v\":1,\"epoch\":\"x\"}"}) {
      ConsumerGroup group("g");
      const auto loaded = group.load(key, wrong);
      EXPECT_FALSE(loaded) << key << " " << wrong;
    }
  }
  EXPECT_EQ(ConsumerGroup::group_of("[\"consumer-group\"]"), std::nullopt);
  EXPECT_EQ(ConsumerGroup::group_of("[\"offset\",\"g\"]"), std::nullopt);
  EXPECT_EQ(ConsumerGroup::group_of("x"), std::nullopt);
}

}  // namespace
}  // namespace millrace::broker::detail

#include "broker/broker_test_util.h"
#include "broker/detail/classic_group.h"
#include "broker/groups.h"

namespace millrace::broker {
namespace {

using testing::ElementsAre;

/// The registry with groups of the consumer protocol, over files in memory.
class ConsumerGroupsTest : public BrokerTest {
 protected:
  ConsumerGroupsTest() {
    open_groups();
    EXPECT_TRUE(create(topic("t", 2)));
    topic_ = broker_->find("t")->object.id;
  }
  ~ConsumerGroupsTest() override {
    env_.files().heal();
    close_groups();
  }

  void open_groups() {
    auto groups = shard().block_on(Groups::open(runtime_, env_, *broker_));
    ASSERT_TRUE(groups) << groups.error().text;
    groups_ = std::move(*groups);
  }
  void close_groups() {
    if (groups_) shard().block_on(groups_->close());
    groups_.reset();
  }
  /// As after kill -9: what no fsync has made durable is gone.
  void crash() {
    env_.files().forget_unsynced();
    close_groups();
    EXPECT_FALSE(shard().block_on(broker_->close()));
    broker_.reset();
    EXPECT_FALSE(shard().block_on(catalog_->close()));
    catalog_.reset();
    open();
    open_groups();
  }
  static ConsumerHeartbeat join(std::string member) {
    ConsumerHeartbeat request;
    request.group = "g";
    request.member_id = std::move(member);
    request.rebalance_timeout_ms = 10'000;
    request.topic_names = {{"t"}};
    request.owned = PartitionSet{};
    return request;
  }
  static ConsumerHeartbeat beat(std::string member, int32_t epoch,
                                std::optional<PartitionSet> owned = std::nullopt) {
    ConsumerHeartbeat request;
    request.group = "g";
    request.member_id = std::move(member);
    request.member_epoch = epoch;
    request.owned = std::move(owned);
    return request;
  }
  Result<ConsumerHeartbeatAnswer> say(ConsumerHeartbeat request) {
    return runtime_.shard(1).block_on(groups_->heartbeat(std::move(request)));
  }
  ConsumerGroupInfo info() {
    auto info = shard().block_on(groups_->describe_consumer("g"));
    EXPECT_TRUE(info) << info.error().text;
    return info ? *info : ConsumerGroupInfo{};
  }
  Result<> commit(GroupCaller caller, Offset offset) {
    std::vector<OffsetToCommit> offsets = {{{"t", 0}, offset, -1, ""}};
    auto done = shard().block_on(groups_->commit("g", std::move(caller), std::move(offsets)));
    if (!done) return done.error();
    return (*done)[0];
  }

  std::unique_ptr<Groups> groups_;
  Uuid topic_;
};

TEST_F(ConsumerGroupsTest, WhatAMemberWasToldOutlivesTheNode) {
  auto first = say(join("a"));
  ASSERT_TRUE(first) << first.error().text;
  ASSERT_TRUE(say(join("b")));
  ASSERT_TRUE(say(beat("a", 1)));
  const auto before = info();
  crash();
  EXPECT_EQ(info().epoch, before.epoch);
  ASSERT_EQ(info().members.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(info().members[i].epoch, before.members[i].epoch);
    EXPECT_EQ(info().members[i].assigned, before.members[i].assigned);
    EXPECT_EQ(info().members[i].target, before.members[i].target);
  }
  auto told = say(beat("a", 1, PartitionSet{{topic_, {0}}}));
  ASSERT_TRUE(told) << told.error().text;
  EXPECT_EQ(told->member_epoch, 2);
  EXPECT_EQ(say(beat("b", 2))->assignment, (PartitionSet{{topic_, {1}}}));
  EXPECT_EQ(info().state, "Stable");
  EXPECT_EQ(info().topics.at(topic_), "t");
}

TEST_F(ConsumerGroupsTest, ANodeThatCannotWriteSaysSoAndGoesOnLater) {
  ASSERT_TRUE(say(join("a")));
  env_.files().fail_after(0, ErrorCode::kDiskFull, 1'000'000);
  EXPECT_FALSE(say(join("b")));
  env_.files().heal();
  auto again = say(join("b"));
  for (int i = 0; !again && i < 100; ++i) again = say(join("b"));
  ASSERT_TRUE(again) << again.error().text;
  crash();
  EXPECT_EQ(info().members.size(), 2u);
}

TEST_F(ConsumerGroupsTest, OffsetsBelongToMembersOfTheEpoch) {
  ASSERT_TRUE(say(join("a")));
  EXPECT_TRUE(commit({"a", 1, {}}, 3));
  EXPECT_EQ(commit({"a", 0, {}}, 2).error().code, ErrorCode::kStaleMemberEpoch);
  EXPECT_EQ(commit({"b", 1, {}}, 2).error().code, ErrorCode::kUnknownMember);
  EXPECT_EQ(commit({"", -1, {}}, 2).error().code, ErrorCode::kUnknownMember);
  ASSERT_TRUE(say(beat("a", kLeaveEpoch)));
  EXPECT_TRUE(commit({"", -1, {}}, 4));
}

TEST_F(ConsumerGroupsTest, AnUnknownGroupIsMadeByAJoinAlone) {
  EXPECT_EQ(say(beat("a", 1)).error().code, ErrorCode::kGroupNotFound);
  EXPECT_EQ(say(beat("a", kLeaveEpoch)).error().code, ErrorCode::kGroupNotFound);
  auto wrong = join("a");
  wrong.owned.reset();
  EXPECT_EQ(say(wrong).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(shard().block_on(groups_->describe_consumer("g")).error().code,
            ErrorCode::kGroupNotFound);
  auto made = join("");
  ASSERT_TRUE(say(made));
  EXPECT_FALSE(info().members[0].member_id.empty());
}

/// A subscription to "t", without partitions, as ConsumerProtocolSubscription 0.
const std::string kSubscription{"\0\0\0\0\0\1\0\1t\xff\xff\xff\xff", 13};

TEST_F(ConsumerGroupsTest, RunningConsumersOfTheClassicProtocolAreTakenOver) {
  JoinRequest request;
  request.group = "g";
  request.session_timeout = request.rebalance_timeout = std::chrono::seconds(30);
  request.protocol_type = "consumer";
  request.protocols = {{"range", kSubscription}};
  auto joined = shard().block_on(groups_->join(request, {}));
  ASSERT_FALSE(joined.error) << joined.error->text;
  const GroupCaller old{joined.member_id, joined.generation, {}};
  const std::vector<TopicPartition> both = {{"t", 0}, {"t", 1}};
  SyncRequest sync{"g", old, {}, {}, {{old.member_id, detail::write_assignment(both)}}};
  ASSERT_FALSE(shard().block_on(groups_->sync(sync, {})).error);
  ASSERT_TRUE(commit(old, 3));

  const auto added = say(join("new"));
  ASSERT_TRUE(added) << added.error().text;
  EXPECT_EQ(added->member_epoch, joined.generation + 1);
  EXPECT_EQ(added->assignment, PartitionSet{});
  EXPECT_EQ(info().state, "Reconciling");
  ASSERT_EQ(info().members.size(), 2u);
  EXPECT_TRUE(commit(old, 4));
  // Also when the node ends here.
  crash();
  const auto heard = shard().block_on(groups_->heartbeat("g", old));
  ASSERT_FALSE(heard);
  EXPECT_EQ(heard.error().code, ErrorCode::kRebalanceInProgress);
  request.member_id = old.member_id;
  joined = shard().block_on(groups_->join(request, {}));
  ASSERT_FALSE(joined.error) << joined.error->text;
  EXPECT_EQ(joined.generation, added->member_epoch);
  sync.caller.generation = joined.generation;
  sync.assignments.clear();
  const auto synced = shard().block_on(groups_->sync(sync, {}));
  EXPECT_EQ(detail::read_assignment(synced.assignment)->size(), 1u);
  EXPECT_EQ(say(beat("new", joined.generation))->assignment->begin()->second.size(), 1u);
  EXPECT_EQ(info().state, "Stable");
  EXPECT_EQ(commit(old, 5).error().code, ErrorCode::kIllegalGeneration);
  EXPECT_TRUE(commit(sync.caller, 5));
  // Others than consumers stay what they are.
  request.group = "other";
  request.member_id.clear();
  request.protocol_type = "connect";
  joined = shard().block_on(groups_->join(request, {}));
  ASSERT_FALSE(joined.error);
  auto wrong = join("new");
  wrong.group = "other";
  EXPECT_EQ(say(wrong).error().code, ErrorCode::kGroupNotFound);
}

TEST_F(ConsumerGroupsTest, AnEmptyGroupChangesItsTypeAndKeepsItsOffsets) {
  ASSERT_TRUE(commit({"", -1, {}}, 7));
  ASSERT_TRUE(say(join("a")));
  const auto listed = shard().block_on(groups_->list());
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_EQ(listed[0].type, GroupType::kConsumer);
  ASSERT_EQ(listed[0].offsets.size(), 1u);
  EXPECT_EQ(listed[0].offsets[0].committed.offset, 7);
  ASSERT_EQ(listed[0].members.size(), 1u);
  EXPECT_THAT(listed[0].members[0].assigned,
              ElementsAre(TopicPartition{"t", 0}, TopicPartition{"t", 1}));
  ASSERT_TRUE(say(beat("a", kLeaveEpoch)));
  crash();
  EXPECT_EQ(info().state, "Empty");
  EXPECT_TRUE(shard().block_on(groups_->remove("g")));
  crash();
  EXPECT_FALSE(shard().block_on(groups_->describe("g")));
}

}  // namespace
}  // namespace millrace::broker

#include "broker/groups.h"

#include <future>
#include <thread>

#include "broker/broker_test_util.h"

namespace millrace::broker {

namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class GroupsTest : public BrokerTest {
 protected:
  GroupsTest() {
    EXPECT_TRUE(create(topic("t", 4)));
    open_groups();
  }
  ~GroupsTest() override {
    env_.files().heal();
    close_groups();
  }
  void open_groups() {
    auto groups = shard().block_on(Groups::open(runtime_, env_, *broker_, options_));
    ASSERT_TRUE(groups) << groups.error().text;
    groups_ = std::move(*groups);
  }
  void close_groups() {
    if (groups_) shard().block_on(groups_->close());
    groups_.reset();
  }
  void restart() {
    close_groups();
    reopen();
    open_groups();
  }
  /// What no sync has made durable is lost, and nothing more can be written.
  void kill_and_restart() {
    env_.files().forget_unsynced();
    close_groups();
    EXPECT_FALSE(shard().block_on(broker_->close()));
    broker_.reset();
    EXPECT_FALSE(shard().block_on(catalog_->close()));
    catalog_.reset();
    open();
    open_groups();
  }

  template <typename T>
  T on(io::Task<T> task) {
    return runtime_.shard(1).block_on(std::move(task));
  }
  static OffsetToCommit at(int32_t partition, Offset offset, std::string metadata = "") {
    return {{"t", partition}, offset, 0, std::move(metadata)};
  }
  Result<std::vector<Result<>>> commit(std::vector<OffsetToCommit> offsets, GroupCaller caller = {},
                                       std::string group = "g") {
    return on(groups_->commit(std::move(group), std::move(caller), std::move(offsets)));
  }
  /// What the group has for the first partitions of t; -1: none, -2: unstable.
  std::vector<Offset> fetched(int32_t partitions, bool stable = false, std::string group = "g") {
    std::vector<TopicPartition> wanted;
    for (int32_t i = 0; i < partitions; ++i) wanted.push_back({"t", i});
    auto found = on(groups_->fetch(std::move(group), {}, std::move(wanted), stable));
    EXPECT_TRUE(found) << found.error().text;
    std::vector<Offset> out;
    for (auto& each : *found) {
      out.push_back(each.unstable ? -2 : each.committed ? each.committed->offset : -1);
    }
    return out;
  }
  Result<std::vector<Result<>>> stage(int64_t producer, std::vector<OffsetToCommit> offsets,
                                      int16_t epoch = 0) {
    return on(groups_->stage_offsets(producer, epoch, "g", {}, std::move(offsets)));
  }
  std::vector<std::string> group_ids() {
    std::vector<std::string> ids;
    for (auto& group : on(groups_->list())) ids.push_back(group.id);
    return ids;
  }

  JoinAnswer join(std::string member_id = "", std::stop_token gone = {}) {
    JoinRequest request;
    request.group = "g";
    request.member_id = std::move(member_id);
    request.client_id = "c";
    request.session_timeout = request.rebalance_timeout = std::chrono::seconds(60);
    request.protocol_type = "connect";
    request.protocols = {{"p", "m"}};
    return on(groups_->join(std::move(request), std::move(gone)));
  }
  /// A stable group of one member: its id, in generation 1.
  std::string member() {
    auto joined = join();
    EXPECT_FALSE(joined.error);
    SyncRequest request;
    request.group = "g";
    request.caller = {joined.member_id, joined.generation, {}};
    request.assignments.push_back({joined.member_id, "all"});
    auto synced = on(groups_->sync(std::move(request), {}));
    EXPECT_FALSE(synced.error);
    EXPECT_EQ(synced.assignment, "all");
    return joined.member_id;
  }
  template <typename Condition>
  void wait_until(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!condition() && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    EXPECT_TRUE(condition());
  }

  GroupOptions options_;
  std::unique_ptr<Groups> groups_;
};

TEST_F(GroupsTest, KeepsOffsetsOverAKill) {
  ASSERT_TRUE(commit({at(0, 5, "note"), at(1, 7)}));
  ASSERT_TRUE(commit({at(0, 6, "\"quoted\"\n\xff")}));
  kill_and_restart();
  EXPECT_THAT(fetched(3), ElementsAre(6, 7, -1));
  auto all = on(groups_->fetch("g", {}, std::nullopt, false));
  ASSERT_THAT(*all, SizeIs(2));
  EXPECT_EQ((*all)[0].committed->metadata, "\"quoted\"\n\xff");
  EXPECT_EQ((*all)[0].committed->commit_time, env_.now_ms());
  EXPECT_THAT(fetched(1, false, "nobody"), ElementsAre(-1));
}

TEST_F(GroupsTest, RefusesOffsetsOneByOne) {
  auto outcomes = commit({at(0, 1),
                          {{"missing", 0}, 1, -1, ""},
                          at(1, 1, std::string(4097, 'x')),
                          at(2, 1, std::string(4096, 'x'))});
  ASSERT_TRUE(outcomes);
  EXPECT_TRUE((*outcomes)[0]);
  EXPECT_EQ((*outcomes)[1].error().code, ErrorCode::kUndefinedObject);
  EXPECT_EQ((*outcomes)[2].error().code, ErrorCode::kOffsetMetadataTooLarge);
  EXPECT_TRUE((*outcomes)[3]);
  EXPECT_THAT(fetched(3), ElementsAre(1, -1, 1));
}

TEST_F(GroupsTest, ACommitThatIsNotDurableIsNotSeen) {
  ASSERT_TRUE(commit({at(0, 1)}));
  env_.files().fail_after(0, ErrorCode::kDiskFull, 1000);
  EXPECT_FALSE(commit({at(0, 2)}));
  EXPECT_THAT(fetched(1), ElementsAre(1));
  env_.files().heal();
  ASSERT_TRUE(commit({at(0, 3)}));
  restart();
  EXPECT_THAT(fetched(1), ElementsAre(3));
}

TEST_F(GroupsTest, ATopicMadeAnewHasNoOffsets) {
  ASSERT_TRUE(commit({at(0, 5)}));
  ASSERT_TRUE(drop("t"));
  EXPECT_THAT(fetched(1), ElementsAre(-1));
  ASSERT_TRUE(create(topic("t", 4)));
  EXPECT_THAT(fetched(1), ElementsAre(-1));
  EXPECT_THAT(on(groups_->list())[0].offsets, IsEmpty());
  ASSERT_TRUE(commit({at(0, 1)}));
  EXPECT_THAT(fetched(1), ElementsAre(1));
}

TEST_F(GroupsTest, ATransactionsOffsetsAreCommittedWithIt) {
  ASSERT_TRUE(commit({at(0, 1), at(1, 1)}));
  ASSERT_TRUE(stage(9, {at(0, 5)}));
  EXPECT_THAT(fetched(2), ElementsAre(1, 1));
  EXPECT_THAT(fetched(2, true), ElementsAre(-2, 1));
  EXPECT_TRUE(on(groups_->describe("g"))->offsets[0].pending);
  ASSERT_TRUE(on(groups_->finish_transaction(9, true)));
  EXPECT_THAT(fetched(2, true), ElementsAre(5, 1));
  ASSERT_TRUE(on(groups_->finish_transaction(9, true)));
  restart();
  EXPECT_THAT(fetched(2, true), ElementsAre(5, 1));
}

TEST_F(GroupsTest, AnAbortedTransactionsOffsetsAreDropped) {
  ASSERT_TRUE(stage(9, {at(0, 5)}));
  ASSERT_TRUE(on(groups_->finish_transaction(9, false)));
  ASSERT_TRUE(on(groups_->finish_transaction(9, true)));
  EXPECT_THAT(fetched(1, true), ElementsAre(-1));
  EXPECT_THAT(group_ids(), IsEmpty());
}

TEST_F(GroupsTest, StagedOffsetsOutliveAKill) {
  ASSERT_TRUE(stage(9, {at(0, 5)}));
  ASSERT_TRUE(stage(10, {at(1, 6)}));
  kill_and_restart();
  EXPECT_THAT(fetched(3, true), ElementsAre(-2, -2, -1));
  ASSERT_TRUE(on(groups_->finish_transaction(9, true)));
  ASSERT_TRUE(on(groups_->finish_transaction(10, false)));
  EXPECT_THAT(fetched(3, true), ElementsAre(5, -1, -1));
}

TEST_F(GroupsTest, AnOffsetCommittedAfterItWasStagedStays) {
  ASSERT_TRUE(stage(9, {at(0, 5), at(1, 5)}));
  ASSERT_TRUE(commit({at(0, 8)}));
  restart();
  ASSERT_TRUE(on(groups_->finish_transaction(9, true)));
  EXPECT_THAT(fetched(2, true), ElementsAre(8, 5));
}

TEST_F(GroupsTest, AnOlderEpochStagesNothing) {
  ASSERT_TRUE(stage(9, {at(0, 5)}, 3));
  auto older = stage(9, {at(0, 6)}, 2);
  ASSERT_FALSE(older);
  EXPECT_EQ(older.error().code, ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(on(groups_->stage_offsets(9, 3, "new", {"m", 1, {}}, {at(0, 5)})).error().code,
            ErrorCode::kIllegalGeneration);
}

TEST_F(GroupsTest, AFinishThatCannotBeWrittenChangesNothing) {
  ASSERT_TRUE(stage(9, {at(0, 5)}));
  env_.files().fail_after(0, ErrorCode::kIo, 1000);
  EXPECT_FALSE(on(groups_->finish_transaction(9, true)));
  env_.files().heal();
  EXPECT_THAT(fetched(1, true), ElementsAre(-2));
  ASSERT_TRUE(on(groups_->finish_transaction(9, true)));
  EXPECT_THAT(fetched(1, true), ElementsAre(5));
}

TEST_F(GroupsTest, MembersGoOnAfterAKill) {
  const auto id = member();
  ASSERT_TRUE(commit({at(0, 4)}, {id, 1, {}}));
  kill_and_restart();
  EXPECT_TRUE(on(groups_->heartbeat("g", {id, 1, {}})));
  EXPECT_TRUE(commit({at(0, 5)}, {id, 1, {}}));
  auto info = on(groups_->describe("g"));
  ASSERT_TRUE(info);
  EXPECT_EQ(info->state, "Stable");
  EXPECT_EQ(info->protocol_type, "connect");
  ASSERT_THAT(info->members, SizeIs(1));
  EXPECT_EQ(info->members[0].member_id, id);
  EXPECT_EQ(info->members[0].assignment, "all");
  ASSERT_THAT(info->offsets, SizeIs(1));
  EXPECT_EQ(info->offsets[0].committed.offset, 5);
}

TEST_F(GroupsTest, WhoWaitsIsAnsweredWhenTheNodeStops) {
  const auto id = member();
  auto second = std::async(std::launch::async, [&] { return join(); });
  wait_until([&] { return on(groups_->describe("g"))->state == "PreparingRebalance"; });
  shard().block_on(groups_->close());
  const auto answer = second.get();
  ASSERT_TRUE(answer.error);
  EXPECT_EQ(answer.error->code, ErrorCode::kShuttingDown);
  EXPECT_EQ(join().error->code, ErrorCode::kShuttingDown);
  groups_.reset();
}

TEST_F(GroupsTest, WhoIsGoneWaitsNoLonger) {
  const auto id = member();
  std::stop_source gone;
  auto second = std::async(std::launch::async, [&] { return join("", gone.get_token()); });
  wait_until([&] { return on(groups_->describe("g"))->state == "PreparingRebalance"; });
  gone.request_stop();
  EXPECT_EQ(second.get().error->code, ErrorCode::kCancelled);
  EXPECT_EQ(on(groups_->heartbeat("g", {id, 1, {}})).error().code, ErrorCode::kRebalanceInProgress);
}

TEST_F(GroupsTest, RefusesWhatNoGroupCanHave) {
  JoinRequest request;
  request.session_timeout = std::chrono::seconds(10);
  EXPECT_EQ(on(groups_->join(request, {})).error->code, ErrorCode::kInvalidGroup);
  request.group = "g";
  request.session_timeout = std::chrono::milliseconds(5999);
  EXPECT_EQ(on(groups_->join(request, {})).error->code, ErrorCode::kInvalidSessionTimeout);
  EXPECT_EQ(join("not known").error->code, ErrorCode::kUnknownMember);
  EXPECT_EQ(commit({at(0, 1)}, {"m", 1, {}}).error().code, ErrorCode::kGroupNotFound);
  EXPECT_EQ(on(groups_->heartbeat("g", {"m", 1, {}})).error().code, ErrorCode::kUnknownMember);
  EXPECT_THAT(group_ids(), IsEmpty());
}

TEST_F(GroupsTest, OnlyAnEmptyGroupIsRemoved) {
  const auto id = member();
  ASSERT_TRUE(commit({at(0, 4)}, {id, 1, {}}));
  EXPECT_EQ(on(groups_->remove("g")).error().code, ErrorCode::kNonEmptyGroup);
  EXPECT_EQ(on(groups_->delete_offsets("g", {{"t", 0}})).error().code, ErrorCode::kNonEmptyGroup);
  ASSERT_TRUE((*on(groups_->leave("g", {{id, {}}})))[0]);
  EXPECT_TRUE(on(groups_->remove("g")));
  EXPECT_EQ(on(groups_->remove("g")).error().code, ErrorCode::kGroupNotFound);
  restart();
  EXPECT_THAT(group_ids(), IsEmpty());
  EXPECT_THAT(fetched(1), ElementsAre(-1));
}

TEST_F(GroupsTest, OffsetsAreDeleted) {
  ASSERT_TRUE(commit({at(0, 4), at(1, 5)}));
  ASSERT_TRUE(stage(9, {at(2, 5)}));
  auto outcomes = on(groups_->delete_offsets("g", {{"t", 0}, {"t", 2}, {"t", 3}}));
  ASSERT_TRUE(outcomes) << outcomes.error().text;
  EXPECT_THAT(*outcomes, SizeIs(3));
  ASSERT_TRUE(on(groups_->finish_transaction(9, true)));
  EXPECT_THAT(fetched(3), ElementsAre(-1, 5, -1));
  restart();
  EXPECT_THAT(fetched(3), ElementsAre(-1, 5, -1));
}

class RetentionTest : public GroupsTest {
 protected:
  RetentionTest() {
    close_groups();
    options_.retention_check_interval = std::chrono::milliseconds(5);
    open_groups();
  }
  void days_pass(int days) { env_.set_now_ms(env_.now_ms() + int64_t{days} * 24 * 3600 * 1000); }
};

TEST_F(RetentionTest, OffsetsOfNobodyGoAfterAWeek) {
  ASSERT_TRUE(commit({at(0, 4)}));
  days_pass(6);
  ASSERT_TRUE(commit({at(1, 4)}));
  days_pass(1);
  wait_until([&] { return fetched(2) == std::vector<Offset>{-1, 4}; });
  days_pass(6);
  wait_until([&] { return group_ids().empty(); });
  restart();
  EXPECT_THAT(group_ids(), IsEmpty());
}

TEST_F(RetentionTest, OffsetsStayWhileThereAreMembersAndAWeekLonger) {
  const auto id = member();
  ASSERT_TRUE(commit({at(0, 4)}, {id, 1, {}}));
  days_pass(30);
  ASSERT_TRUE(commit({{{"t", 1}, 4, -1, ""}}, {id, 1, {}}));
  ASSERT_TRUE((*on(groups_->leave("g", {{id, {}}})))[0]);
  days_pass(6);
  ASSERT_TRUE(commit({{{"t", 2}, 4, -1, ""}}, {}, "other"));
  EXPECT_THAT(fetched(2), ElementsAre(4, 4));
  days_pass(1);
  wait_until([&] { return group_ids() == std::vector<std::string>{"other"}; });
}

}  // namespace

}  // namespace millrace::broker

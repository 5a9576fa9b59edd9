#include "broker/detail/classic_group.h"

#include <gmock/gmock.h>

#include "base/io/memory_files.h"

namespace millrace::broker::detail {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::IsEmpty;
using testing::SizeIs;

/// Big-endian, as clients write their subscriptions.
std::string subscription(std::string_view topic) {
  std::string out("\0\1\0\0\0\1\0", 7);
  out.push_back(static_cast<char>(topic.size()));
  out += topic;
  out.append("\xff\xff\xff\xff", 4);  // no user data
  return out;
}

class ClassicGroupTest : public testing::Test {
 protected:
  using Join = std::shared_ptr<std::optional<JoinAnswer>>;
  using Sync = std::shared_ptr<std::optional<SyncAnswer>>;

  ClassicGroupTest() { options_.members_max = 10; }

  JoinRequest request(std::string member_id = "",
                      std::vector<GroupProtocol> protocols = {{"range", subscription("t")}}) {
    JoinRequest join;
    join.group = "g";
    join.member_id = std::move(member_id);
    join.client_id = "client";
    join.client_host = "/127.0.0.1";
    join.session_timeout = seconds(10);
    join.rebalance_timeout = seconds(60);
    join.protocol_type = "consumer";
    join.protocols = std::move(protocols);
    return join;
  }
  Join join(JoinRequest wanted) {
    auto answer = std::make_shared<std::optional<JoinAnswer>>();
    group_->join(std::move(wanted), [answer](JoinAnswer a) { *answer = std::move(a); }, now_);
    return answer;
  }
  Join join(std::string member_id = "") { return join(request(std::move(member_id))); }
  Sync sync(std::string member_id, std::vector<SyncRequest::Assignment> assignments = {},
            std::optional<int32_t> generation = std::nullopt) {
    auto answer = std::make_shared<std::optional<SyncAnswer>>();
    SyncRequest wanted;
    wanted.group = "g";
    wanted.caller = {std::move(member_id), generation.value_or(info().generation), std::nullopt};
    wanted.assignments = std::move(assignments);
    group_->sync(std::move(wanted), [answer](SyncAnswer a) { *answer = std::move(a); }, now_);
    return answer;
  }
  GroupInfo info() {
    GroupInfo out;
    group_->describe(out);
    return out;
  }
  /// Time goes on; what is due happens.
  void pass(milliseconds time) {
    now_ += time;
    group_->tick(now_);
  }
  /// What was asked to be written is written, or not.
  void write(const Result<>& outcome = {}) {
    for (auto& each : group_->take_writes()) {
      if (outcome) {
        for (auto& entry : each.entries) journal_[entry.key] = entry.value.value_or("");
      }
      if (each.done) each.done(outcome);
    }
  }
  /// A group of `count` members, stable; the first is the leader. Gives their ids, leader first.
  std::vector<std::string> stable_group(size_t count) {
    std::vector<Join> joins;
    for (size_t i = 0; i < count; ++i) joins.push_back(join());
    pass(options_.initial_rebalance_delay);
    pass(options_.initial_rebalance_delay);
    std::vector<std::string> ids = {(*joins[0])->leader};
    std::vector<SyncRequest::Assignment> assignments;
    for (auto& each : joins) {
      const auto& id = (*each)->member_id;
      if (id != ids[0]) ids.push_back(id);
      assignments.push_back({id, "for " + id});
    }
    for (size_t i = 1; i < count; ++i) sync(ids[i]);
    sync(ids[0], assignments);
    write();
    EXPECT_EQ(info().state, "Stable");
    return ids;
  }
  ErrorCode heartbeat_error(const std::string& id) {
    auto heard = group_->heartbeat({id, info().generation, std::nullopt}, now_);
    return heard ? ErrorCode::kInternal : heard.error().code;
  }
  static constexpr auto kFine = ErrorCode::kInternal;

  io::TestEnv env_;
  GroupOptions options_;
  Clock::time_point now_ = Clock::now();
  std::map<std::string, std::string> journal_;
  std::shared_ptr<ClassicGroup> group_ = std::make_shared<ClassicGroup>("g", env_, options_);
};

TEST_F(ClassicGroupTest, MembersThatStartTogetherShareTheFirstGeneration) {
  auto first = join();
  pass(options_.initial_rebalance_delay / 2);
  auto second = join();
  pass(options_.initial_rebalance_delay / 2);
  EXPECT_FALSE(*first);  // another came: the wait is longer
  pass(options_.initial_rebalance_delay);
  ASSERT_TRUE(*first && *second);
  EXPECT_EQ((*first)->generation, 1);
  EXPECT_EQ((*first)->protocol, "range");
  EXPECT_EQ((*first)->leader, (*first)->member_id);
  EXPECT_THAT((*first)->members, SizeIs(2));
  EXPECT_EQ((*second)->leader, (*first)->member_id);
  EXPECT_THAT((*second)->members, IsEmpty());
}

TEST_F(ClassicGroupTest, ANewMemberIsAskedToComeAgainWithItsId) {
  auto wanted = request();
  wanted.knows_member_id_required = true;
  auto refused = join(wanted);
  ASSERT_TRUE(*refused && (*refused)->error);
  EXPECT_EQ((*refused)->error->code, ErrorCode::kMemberIdRequired);
  EXPECT_THAT((*refused)->member_id, testing::StartsWith("client-"));
  wanted.member_id = (*refused)->member_id;
  auto joined = join(wanted);
  pass(options_.initial_rebalance_delay);
  pass(options_.initial_rebalance_delay);
  ASSERT_TRUE(*joined);
  EXPECT_EQ((*joined)->member_id, (*refused)->member_id);
}

TEST_F(ClassicGroupTest, AnIdThatNobodyUsesIsForgotten) {
  auto wanted = request();
  wanted.knows_member_id_required = true;
  auto refused = join(wanted);
  EXPECT_FALSE(group_->idle());
  pass(seconds(10));
  EXPECT_TRUE(group_->idle());
  auto late = join((*refused)->member_id);
  EXPECT_EQ((*late)->error->code, ErrorCode::kUnknownMember);
}

TEST_F(ClassicGroupTest, AnAssignmentIsToldWhenItIsDurable) {
  auto joined = join();
  pass(options_.initial_rebalance_delay);
  pass(options_.initial_rebalance_delay);
  const auto id = (*joined)->member_id;
  auto synced = sync(id, {{id, "mine"}});
  EXPECT_FALSE(*synced);
  write();
  ASSERT_TRUE(*synced);
  EXPECT_FALSE((*synced)->error);
  EXPECT_EQ((*synced)->assignment, "mine");
  EXPECT_EQ((*synced)->protocol, "range");
}

TEST_F(ClassicGroupTest, AnAssignmentThatCannotBeKeptIsRefusedAndMadeAgain) {
  auto joined = join();
  pass(options_.initial_rebalance_delay);
  pass(options_.initial_rebalance_delay);
  const auto id = (*joined)->member_id;
  auto synced = sync(id, {{id, "mine"}});
  write(Error{ErrorCode::kDiskFull, "no room"});
  ASSERT_TRUE(*synced && (*synced)->error);
  EXPECT_EQ((*synced)->error->code, ErrorCode::kDiskFull);
  EXPECT_EQ(info().state, "PreparingRebalance");
}

TEST_F(ClassicGroupTest, ANewMemberMakesTheOthersJoinAgain) {
  const auto ids = stable_group(2);
  EXPECT_EQ(heartbeat_error(ids[1]), kFine);
  auto third = join();
  EXPECT_EQ(heartbeat_error(ids[0]), ErrorCode::kRebalanceInProgress);
  auto first = join(ids[0]);
  auto second = join(ids[1]);
  ASSERT_TRUE(*first && *second && *third);
  EXPECT_EQ((*third)->generation, 2);
  EXPECT_THAT((*first)->members, SizeIs(3));
}

TEST_F(ClassicGroupTest, WhoDoesNotJoinAgainInTimeIsOut) {
  const auto ids = stable_group(2);
  auto third = join();
  auto first = join(ids[0]);
  for (int i = 0; i < 12; ++i) {
    pass(seconds(5));  // it sends heartbeats all the time, and does not join
    group_->heartbeat({ids[1], 1, std::nullopt}, now_).has_value();
  }
  ASSERT_TRUE(*first && *third);
  EXPECT_THAT((*first)->members, SizeIs(2));
  EXPECT_EQ(heartbeat_error(ids[1]), ErrorCode::kUnknownMember);
}

TEST_F(ClassicGroupTest, WhoIsNotHeardOfIsOut) {
  const auto ids = stable_group(2);
  pass(seconds(6));
  EXPECT_EQ(heartbeat_error(ids[0]), kFine);
  pass(seconds(6));
  EXPECT_EQ(heartbeat_error(ids[0]), ErrorCode::kRebalanceInProgress);
  EXPECT_EQ(heartbeat_error(ids[1]), ErrorCode::kUnknownMember);
}

TEST_F(ClassicGroupTest, WhoDoesNotAskForItsAssignmentIsOut) {
  auto first = join();
  auto second = join();
  pass(options_.initial_rebalance_delay);
  pass(options_.initial_rebalance_delay);
  const auto leader = (*first)->member_id;
  const auto other = (*second)->member_id;
  sync(leader, {{leader, "a"}, {other, "b"}});
  write();
  for (int i = 0; i < 12; ++i) {
    pass(seconds(5));
    group_->heartbeat({leader, 1, std::nullopt}, now_).has_value();
    group_->heartbeat({other, 1, std::nullopt}, now_).has_value();
  }
  EXPECT_EQ(heartbeat_error(leader), ErrorCode::kRebalanceInProgress);
  EXPECT_EQ(heartbeat_error(other), ErrorCode::kUnknownMember);
}

TEST_F(ClassicGroupTest, TheLeaderMayAskForANewAssignmentOthersMayNot) {
  const auto ids = stable_group(2);
  auto follower = join(ids[1]);
  ASSERT_TRUE(*follower);
  EXPECT_EQ((*follower)->generation, 1);
  auto leader = join(ids[0]);
  EXPECT_FALSE(*leader);
  EXPECT_EQ(info().state, "PreparingRebalance");
}

TEST_F(ClassicGroupTest, TheProtocolThatMostPreferWins) {
  auto first = join(request("", {{"range", "a"}, {"sticky", "b"}}));
  auto second = join(request("", {{"sticky", "c"}, {"range", "d"}}));
  auto third = join(request("", {{"only mine", "e"}, {"sticky", "f"}, {"range", "g"}}));
  pass(options_.initial_rebalance_delay);
  pass(options_.initial_rebalance_delay);
  ASSERT_TRUE(*first);
  EXPECT_EQ((*first)->protocol, "sticky");
  auto stranger = join(request("", {{"other", ""}}));
  ASSERT_TRUE(*stranger && (*stranger)->error);
  EXPECT_EQ((*stranger)->error->code, ErrorCode::kInconsistentProtocol);
  auto worker = request();
  worker.protocol_type = "connect";
  EXPECT_EQ((*join(worker))->error->code, ErrorCode::kInconsistentProtocol);
}

TEST_F(ClassicGroupTest, AFullGroupTakesNoMore) {
  options_.members_max = 2;
  stable_group(2);
  auto third = join();
  ASSERT_TRUE(*third && (*third)->error);
  EXPECT_EQ((*third)->error->code, ErrorCode::kGroupFull);
}

TEST_F(ClassicGroupTest, MembersCommitInTheirGenerationOnly) {
  auto commit = [&](std::string id, int32_t generation) {
    auto checked = group_->check_commit({std::move(id), generation, std::nullopt}, false, now_);
    return checked ? kFine : checked.error().code;
  };
  EXPECT_EQ(commit("", -1), kFine);
  const auto ids = stable_group(1);
  EXPECT_EQ(commit("", -1), ErrorCode::kUnknownMember);
  EXPECT_EQ(commit(ids[0], 1), kFine);
  EXPECT_EQ(commit(ids[0], 2), ErrorCode::kIllegalGeneration);
  EXPECT_EQ(commit("nobody", 1), ErrorCode::kUnknownMember);
  auto second = join();
  EXPECT_EQ(commit(ids[0], 1), kFine);  // before it joins again it says where it is
  join(ids[0]);
  EXPECT_EQ(commit(ids[0], 2), ErrorCode::kRebalanceInProgress);
  EXPECT_TRUE(group_->check_commit({ids[0], 2, std::nullopt}, true, now_));
}

class StaticMembersTest : public ClassicGroupTest {
 protected:
  JoinRequest of_instance(std::string instance, bool knows_skip = true) {
    auto wanted = request();
    wanted.instance_id = std::move(instance);
    wanted.knows_skip_assignment = knows_skip;
    return wanted;
  }
  void SetUp() override {
    auto first = join(of_instance("one"));
    auto second = join(of_instance("two"));
    pass(options_.initial_rebalance_delay);
    pass(options_.initial_rebalance_delay);
    one_ = (*first)->member_id;
    two_ = (*second)->member_id;
    ASSERT_EQ((*first)->leader, one_);
    sync(two_);
    sync(one_, {{one_, "for one"}, {two_, "for two"}});
    write();
  }
  std::string one_, two_;
};

TEST_F(StaticMembersTest, OneThatComesBackHasItsPlaceWithoutARebalance) {
  auto back = join(of_instance("two"));
  EXPECT_FALSE(*back);
  write();
  ASSERT_TRUE(*back);
  EXPECT_FALSE((*back)->error);
  EXPECT_NE((*back)->member_id, two_);
  EXPECT_EQ((*back)->generation, 1);
  EXPECT_EQ(info().state, "Stable");
  EXPECT_EQ((**sync((*back)->member_id)).assignment, "for two");
  auto old = group_->heartbeat({two_, 1, "two"}, now_);
  ASSERT_FALSE(old);
  EXPECT_EQ(old.error().code, ErrorCode::kFencedInstance);
}

TEST_F(StaticMembersTest, ALeaderThatComesBackDoesNotAssignAnew) {
  auto back = join(of_instance("one"));
  write();
  ASSERT_TRUE(*back);
  EXPECT_EQ((*back)->leader, (*back)->member_id);
  EXPECT_TRUE((*back)->skip_assignment);
  EXPECT_THAT((*back)->members, SizeIs(2));
  auto older = join(of_instance("one", false));
  write();
  EXPECT_EQ((*older)->leader, (*back)->member_id);  // it is not told that it leads
  EXPECT_THAT((*older)->members, IsEmpty());
}

TEST_F(StaticMembersTest, AChangeThatCannotBeKeptIsUndone) {
  auto back = join(of_instance("two"));
  write(Error{ErrorCode::kIo, "broken"});
  ASSERT_TRUE(*back && (*back)->error);
  EXPECT_EQ((*back)->error->code, ErrorCode::kIo);
  EXPECT_TRUE(group_->heartbeat({two_, 1, "two"}, now_));
}

TEST_F(StaticMembersTest, OneIsRemovedByItsInstanceId) {
  auto outcomes = group_->leave({{"", "two"}, {"", "nobody"}, {one_, "two"}}, now_);
  ASSERT_THAT(outcomes, SizeIs(3));
  EXPECT_TRUE(outcomes[0]);
  EXPECT_EQ(outcomes[1].error().code, ErrorCode::kUnknownMember);
  EXPECT_FALSE(outcomes[2]);
  EXPECT_EQ(info().state, "PreparingRebalance");
  EXPECT_THAT(info().members, SizeIs(1));
}

TEST_F(ClassicGroupTest, MembersGoOnAfterTheNodeStartedAgain) {
  const auto ids = stable_group(2);
  ASSERT_THAT(journal_, SizeIs(1));
  now_ += std::chrono::hours(1);
  auto loaded = ClassicGroup::load("g", env_, options_, journal_.begin()->second, now_);
  ASSERT_TRUE(loaded) << loaded.error().text;
  group_ = *loaded;
  EXPECT_EQ(info().state, "Stable");
  EXPECT_EQ(info().protocol, "range");
  EXPECT_EQ(heartbeat_error(ids[0]), kFine);
  EXPECT_EQ(heartbeat_error(ids[1]), kFine);
  EXPECT_EQ((**sync(ids[1])).assignment, "for " + ids[1]);
  EXPECT_EQ(group_->subscribed("t"), true);
  EXPECT_EQ(group_->subscribed("other"), false);
  pass(seconds(11));
  EXPECT_THAT(info().members, IsEmpty());
}

TEST_F(ClassicGroupTest, ThatItIsEmptyIsKept) {
  const auto ids = stable_group(1);
  EXPECT_EQ(group_->retention_start("t", 5), std::nullopt);
  EXPECT_EQ(group_->retention_start("other", 5), 5);
  env_.set_now_ms(77);
  EXPECT_TRUE(group_->leave({{ids[0], std::nullopt}}, now_)[0]);
  write();
  EXPECT_EQ(info().state, "Empty");
  auto loaded = ClassicGroup::load("g", env_, options_, journal_.begin()->second, now_);
  ASSERT_TRUE(loaded);
  EXPECT_TRUE((*loaded)->empty());
  EXPECT_FALSE((*loaded)->idle());
  EXPECT_EQ((*loaded)->retention_start("t", 5), 77);
}

TEST_F(ClassicGroupTest, ABadRecordIsReported) {
  for (const auto* record :
       {"", "[]", "{}", R"({"v":2})", R"({"v":1,"members":[1]})",
        R"({"v":1,"members":[{"member_id":"a","metadata":"?","assignment":""}]})"}) {
    auto loaded = ClassicGroup::load("g", env_, options_, record, now_);
    ASSERT_FALSE(loaded) << record;
    EXPECT_EQ(loaded.error().code, ErrorCode::kCorruptRecord);
  }
}

TEST(ConsumerMetadata, ReadsWhatClientsWrite) {
  EXPECT_EQ(read_subscription(subscription("t")), std::vector<std::string>{"t"});
  EXPECT_EQ(read_subscription("x"), std::nullopt);
  EXPECT_EQ(read_subscription(std::string("\0\0\x7f\xff\xff\xff", 6)), std::nullopt);
  const std::string assignment("\0\0\0\0\0\1\0\1t\0\0\0\2\0\0\0\3\0\0\0\4\xff\xff\xff\xff", 25);
  const std::vector<TopicPartition> expected = {{"t", 3}, {"t", 4}};
  EXPECT_EQ(read_assignment(assignment), expected);
  EXPECT_EQ(read_assignment(assignment.substr(0, 18)), std::nullopt);
  EXPECT_EQ(read_assignment(""), std::vector<TopicPartition>{});
}

}  // namespace

}  // namespace millrace::broker::detail

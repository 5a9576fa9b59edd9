#include "broker/detail/consumer_group.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <random>

#include "base/logging.h"
#include "broker/detail/classic_group.h"
#include "broker/detail/partition_set.h"

namespace millrace::broker::detail {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::Eq;
using testing::IsEmpty;
using testing::Optional;

Uuid topic_id(size_t n) {
  Uuid id;
  id.bytes[0] = static_cast<uint8_t>(n + 1);
  return id;
}

/// A group with its topics, its journal and its clock.
class ConsumerGroupTest : public testing::Test {
 protected:
  ConsumerGroupTest() {
    logging::configure(logging::Level::kWarn, logging::Format::kText);
    set_topics({{"t", 4}});
  }

  void set_topics(std::vector<std::pair<std::string, int32_t>> topics) {
    std::vector<TopicsImage::Entry> entries;
    for (const auto& [name, count] : topics) {
      const auto at = ids_.emplace(name, topic_id(ids_.size())).first;
      entries.push_back({name, at->second, count});
    }
    topics_ = std::make_shared<TopicsImage>(++version_, std::move(entries));
  }
  static ConsumerHeartbeat join(std::string member, std::vector<std::string> names = {"t"}) {
    ConsumerHeartbeat request;
    request.group = "g";
    request.member_id = std::move(member);
    request.member_epoch = 0;
    request.rebalance_timeout_ms = 10'000;
    request.topic_names = std::move(names);
    request.owned = PartitionSet{};
    request.member_id_required = true;
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
  /// Says it to the group, writes the journal.
  Result<ConsumerHeartbeatAnswer> say(const ConsumerHeartbeat& request) {
    MR_TRY(ConsumerGroup::validate(request));
    auto answer = group_->heartbeat(request, topics_, now_);
    keep();
    return answer;
  }
  ConsumerHeartbeatAnswer hear(const ConsumerHeartbeat& request) {
    auto answer = say(request);
    EXPECT_TRUE(answer) << answer.error().text;
    return answer ? *answer : ConsumerHeartbeatAnswer{};
  }
  ErrorCode refused(const ConsumerHeartbeat& request) {
    const auto before = group_->info();
    const auto answer = say(request);
    EXPECT_FALSE(answer);
    return answer ? ErrorCode::kInternal : answer.error().code;
  }
  void keep() {
    for (auto& write : group_->take_writes()) {
      for (auto& entry : write.entries) {
        if (entry.value) {
          journal_[entry.key] = *entry.value;
        } else {
          journal_.erase(entry.key);
        }
      }
      write.done(Result<>());
    }
  }
  void pass(milliseconds time) {
    now_ += time;
    if (group_->deadline() && *group_->deadline() <= now_) group_->tick(now_);
    keep();
  }
  void restart() {
    group_ = std::make_shared<ConsumerGroup>("g", members_max_);
    for (const auto& [key, value] : journal_) {
      ASSERT_THAT(ConsumerGroup::group_of(key), Optional(Eq("g")));
      const auto loaded = group_->load(key, value);
      ASSERT_TRUE(loaded) << loaded.error().text;
    }
    group_->resume(topics_, now_);
    EXPECT_EQ(group_->info().topics.empty(), nothing_assigned());
  }
  bool nothing_assigned() const {
    return std::ranges::all_of(group_->info().members, [&](const auto& member) {
      return std::ranges::none_of(
                 member.assigned,
                 [&](const auto& at) { return topics_->find(at.first) != nullptr; }) &&
             std::ranges::none_of(
                 member.target, [&](const auto& at) { return topics_->find(at.first) != nullptr; });
    });
  }
  PartitionSet set(const std::string& topic, std::vector<int32_t> partitions) {
    return {{ids_.at(topic), std::move(partitions)}};
  }

  size_t members_max_ = 1000;
  std::shared_ptr<ConsumerGroup> group_ = std::make_shared<ConsumerGroup>("g", members_max_);
  std::shared_ptr<const TopicsImage> topics_;
  std::map<std::string, Uuid> ids_;
  uint64_t version_ = 0;
  std::map<std::string, std::string> journal_;
  Clock::time_point now_{seconds(1000)};
};

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

// ---- members of the classic protocol

/// A subscription to `t` with partitions that the member has, as ConsumerProtocolSubscription.
std::string subscription(const std::vector<int32_t>& owned) {
  std::string out;
  const auto add = [&](uint32_t value, int size) {
    while (size-- > 0) out += static_cast<char>(value >> (8 * size));
  };
  add(1, 2);
  add(1, 4);
  add(1, 2);
  out += 't';
  add(UINT32_MAX, 4);
  add(owned.empty() ? 0 : 1, 4);
  if (owned.empty()) return out;
  add(1, 2);
  out += 't';
  add(static_cast<uint32_t>(owned.size()), 4);
  for (const int32_t p : owned) add(static_cast<uint32_t>(p), 4);
  return out;
}

class ConsumerGroupClassic : public ConsumerGroupTest {
 protected:
  JoinAnswer join_classic(const std::string& member, const std::vector<int32_t>& owned) {
    JoinRequest request;
    request.group = "g";
    request.member_id = member;
    request.session_timeout = seconds(20);
    request.rebalance_timeout = seconds(10);
    request.protocol_type = "consumer";
    request.protocols = {{"cooperative-sticky", subscription(owned)}};
    request.knows_member_id_required = true;
    auto answer = group_->join_classic(request, "made", topics_, now_);
    keep();
    return answer;
  }
  std::vector<int32_t> sync(const std::string& member, int32_t generation) {
    const auto answer =
        group_->sync_classic({"g", {member, generation, {}}, {}, {}, {}}, topics_, now_);
    EXPECT_FALSE(answer.error) << answer.error->text;
    EXPECT_EQ(answer.protocol, "cooperative-sticky");
    std::vector<int32_t> out;
    const auto assigned = read_assignment(answer.assignment);
    for (const auto& [topic, partition] : *assigned) {
      EXPECT_EQ(topic, "t");
      out.push_back(partition);
    }
    return out;
  }
  std::optional<ErrorCode> heartbeat(const std::string& member, int32_t generation) {
    const auto heard = group_->heartbeat_classic({member, generation, {}}, topics_, now_);
    keep();
    return heard ? std::nullopt : std::optional(heard.error().code);
  }
};

TEST_F(ConsumerGroupClassic, ShareWithMembersOfTheNewProtocol) {
  hear(join("new"));
  EXPECT_EQ(join_classic("", {}).error->code, ErrorCode::kMemberIdRequired);
  const auto joined = join_classic("old", {});
  EXPECT_FALSE(joined.error);
  EXPECT_EQ(joined.generation, 2);
  EXPECT_EQ(joined.protocol, "cooperative-sticky");
  EXPECT_NE(joined.leader, "old");
  EXPECT_THAT(sync("old", 2), IsEmpty());
  EXPECT_EQ(heartbeat("old", 2), std::nullopt);
  // What the new one gives up is there at the next join, which the heartbeat asks for.
  hear(beat("new", 1));
  hear(beat("new", 1, set("t", {0, 1})));
  EXPECT_EQ(heartbeat("old", 2), ErrorCode::kRebalanceInProgress);
  restart();
  EXPECT_EQ(join_classic("old", {}).generation, 2);
  EXPECT_THAT(sync("old", 2), ElementsAre(2, 3));
  EXPECT_EQ(heartbeat("old", 2), std::nullopt);
  EXPECT_EQ(heartbeat("old", 1), ErrorCode::kIllegalGeneration);
  EXPECT_EQ(heartbeat("new", 2), ErrorCode::kUnknownMember);
  EXPECT_EQ(group_->check_commit({"old", 1, {}}, false, now_).error().code,
            ErrorCode::kIllegalGeneration);
  EXPECT_TRUE(group_->check_commit({"old", 2, {}}, false, now_));

  // A third: the classic one is to join again, hears what it keeps, and says so by joining.
  hear(join("newer"));
  EXPECT_EQ(heartbeat("old", 2), ErrorCode::kRebalanceInProgress);
  const auto told = join_classic("old", {2, 3});
  EXPECT_EQ(told.generation, 2);
  const auto kept = sync("old", 2);
  EXPECT_EQ(kept.size(), 1u);
  EXPECT_EQ(heartbeat("old", 2), ErrorCode::kRebalanceInProgress);
  EXPECT_EQ(hear(beat("newer", 3)).assignment, std::nullopt);
  EXPECT_EQ(join_classic("old", kept).generation, 3);
  EXPECT_EQ(heartbeat("old", 3), std::nullopt);
  EXPECT_EQ(hear(beat("newer", 3)).assignment->begin()->second.size(), 1u);
  EXPECT_TRUE(group_->leave({{"old", {}}}, now_)[0]);
  EXPECT_EQ(group_->info().members.size(), 2u);
}

TEST_F(ConsumerGroupClassic, AMemberThatDoesNotJoinAgainIsRemoved) {
  join_classic("old", {});
  EXPECT_THAT(sync("old", 1), ElementsAre(0, 1, 2, 3));
  hear(join("new"));
  EXPECT_EQ(heartbeat("old", 1), ErrorCode::kRebalanceInProgress);
  pass(seconds(6));
  EXPECT_EQ(heartbeat("old", 1), ErrorCode::kRebalanceInProgress);
  pass(seconds(6));
  EXPECT_EQ(heartbeat("old", 1), ErrorCode::kUnknownMember);
  EXPECT_EQ(hear(beat("new", 2)).assignment, set("t", {0, 1, 2, 3}));
}

TEST_F(ConsumerGroupClassic, OnlyConsumersCanJoin) {
  hear(join("new"));
  JoinRequest request;
  request.member_id = "old";
  request.protocol_type = "connect";
  request.protocols = {{"sessioned", "x"}};
  EXPECT_EQ(group_->join_classic(request, "", topics_, now_).error->code,
            ErrorCode::kInconsistentProtocol);
  request.protocol_type = "consumer";
  for (size_t size = 0; size < subscription({1}).size(); ++size) {
    request.protocols[0].metadata = subscription({1}).substr(0, size);
    EXPECT_EQ(group_->join_classic(request, "", topics_, now_).error->code,
              ErrorCode::kInconsistentProtocol);
  }
  EXPECT_EQ(group_->info().members.size(), 1u);
}

/// A consumer as KIP-848 wants it, over a net that loses requests and answers.
struct Client {
  std::string id;
  std::optional<std::string> instance;
  std::vector<std::string> names;
  std::string regex;
  int32_t epoch = 0;
  PartitionSet owned;
  bool full = true;  // the next request says everything
  bool said = true;  // `owned` was heard by the group
};

class ConsumerGroupWalk : public ConsumerGroupTest {
 protected:
  size_t below(size_t n) { return static_cast<size_t>(random_() % n); }

  void new_topics() {
    std::vector<std::pair<std::string, int32_t>> topics;
    for (const std::string name : {"a1", "a2", "b1", "b2"}) {
      auto& count = counts_[name];
      if (below(3) == 0)
        count = static_cast<int32_t>(std::min<size_t>(9, size_t(count) + below(4)));
      if (below(12) == 0) {
        count = 0;
        ids_.erase(name);  // a topic of this name will be another
      }
      if (count > 0) topics.emplace_back(name, count);
    }
    std::vector<TopicsImage::Entry> entries;
    for (const auto& [name, count] : topics) {
      const auto at = ids_.try_emplace(name, topic_id(next_topic_)).first;
      if (at->second == topic_id(next_topic_)) ++next_topic_;
      entries.push_back({name, at->second, count});
    }
    topics_ = std::make_shared<TopicsImage>(++version_, std::move(entries));
  }
  void subscribe(Client& client) {
    client.names.clear();
    client.regex.clear();
    for (const std::string name : {"a1", "a2", "b1", "b2"}) {
      if (below(2) == 0) client.names.push_back(name);
    }
    if (below(3) == 0) client.regex = below(2) == 0 ? "a.*" : ".*2";
    client.full = true;
  }
  void heartbeat(Client& client, bool may_lose) {
    auto request = client.full || client.epoch == 0 ? join(client.id, client.names)
                                                    : beat(client.id, client.epoch);
    request.member_epoch = client.epoch;
    request.instance_id = client.instance;
    if (client.full || client.epoch == 0) {
      request.topic_regex = client.regex;
      request.owned = client.owned;
    }
    if (!client.said) request.owned = client.owned;
    if (client.epoch == 0) {
      client.owned.clear();
      request.owned = PartitionSet{};
    }
    if (may_lose && below(8) == 0) return lost(client);
    auto answer = say(request);
    check_owners();
    if (may_lose && below(8) == 0) return lost(client);
    if (!answer) {
      ASSERT_TRUE(answer.error().code == ErrorCode::kFencedMemberEpoch ||
                  answer.error().code == ErrorCode::kUnknownMember ||
                  answer.error().code == ErrorCode::kUnreleasedInstance)
          << answer.error().text;
      client.epoch = 0;
      client.owned.clear();
      client.full = true;
      return;
    }
    client.said = true;
    client.full = false;
    client.epoch = answer->member_epoch;
    if (answer->assignment && client.owned != *answer->assignment) {
      client.owned = *answer->assignment;
      client.said = false;
    }
  }
  static void lost(Client& client) { client.full = true; }
  /// No partition is used by two clients that believe themselves members.
  void check_owners() {
    std::map<std::pair<Uuid, int32_t>, std::string> users;
    for (const auto& member : group_->info().members) {
      for (const auto& [topic, partitions] : member.assigned) {
        for (const int32_t p : partitions) {
          const auto [at, first] = users.emplace(std::pair(topic, p), member.member_id);
          ASSERT_TRUE(first) << member.member_id << " and " << at->second;
        }
      }
    }
    std::map<std::pair<Uuid, int32_t>, std::string> owners;
    for (const auto& client : clients_) {
      const bool known = std::ranges::any_of(group_->info().members, [&](const auto& member) {
        return member.member_id == client.id && client.epoch > 0;
      });
      if (!known) continue;  // was removed: it may be late to know
      for (const auto& [topic, partitions] : client.owned) {
        for (const int32_t p : partitions) {
          const auto [at, first] = owners.emplace(std::pair(topic, p), client.id);
          ASSERT_TRUE(first) << client.id << " and " << at->second;
        }
      }
    }
  }
  void check_settled() {
    const auto info = group_->info();
    ASSERT_EQ(info.state, clients_.empty() ? "Empty" : "Stable");
    ASSERT_EQ(info.members.size(), clients_.size());
    size_t assigned = 0;
    std::set<Uuid> wanted;
    for (const auto& client : clients_) {
      for (const auto& entry : topics_->list()) {
        const bool named = std::ranges::find(client.names, entry.name) != client.names.end();
        const bool matched = !client.regex.empty() &&
                             (client.regex == "a.*" ? entry.name[0] == 'a' : entry.name[1] == '2');
        if (named || matched) wanted.insert(entry.id);
      }
      for (const auto& [topic, partitions] : client.owned) assigned += partitions.size();
    }
    size_t expected = 0;
    for (const Uuid& id : wanted) expected += static_cast<size_t>(topics_->find(id)->partitions);
    ASSERT_EQ(assigned, expected);
  }
  void step() {
    const size_t what = below(20);
    if (what == 0 || clients_.empty()) {
      Client client;
      client.id = "m" + std::to_string(next_++);
      if (below(3) == 0) client.instance = "i" + std::to_string(next_);
      subscribe(client);
      clients_.push_back(client);
    } else if (what == 1) {
      const size_t at = below(clients_.size());
      auto request = beat(clients_[at].id, kLeaveEpoch);
      request.instance_id = clients_[at].instance;
      if (below(2) == 0) (void)say(request);  // or it just dies
      clients_.erase(clients_.begin() + static_cast<std::ptrdiff_t>(at));
    } else if (what == 2) {
      Client& client = clients_[below(clients_.size())];
      if (client.instance && client.epoch > 0) {
        auto request = beat(client.id, kStaticLeaveEpoch);
        request.instance_id = client.instance;
        (void)say(request);
        client.id = "m" + std::to_string(next_++);
        client.epoch = 0;
        client.owned.clear();
        client.full = true;
      }
    } else if (what == 3) {
      subscribe(clients_[below(clients_.size())]);
    } else if (what == 4) {
      new_topics();
    } else if (what == 5) {
      restart();
    } else if (what == 6) {
      pass(milliseconds(below(20'000)));
    } else {
      heartbeat(clients_[below(clients_.size())], true);
    }
  }

  std::mt19937_64 random_;
  std::map<std::string, int32_t> counts_;
  size_t next_topic_ = 0;
  int next_ = 0;
  std::vector<Client> clients_;
};

TEST_F(ConsumerGroupWalk, NoPartitionHasTwoUsersAndAllAreUsedInTheEnd) {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE(seed);
    random_.seed(seed);
    group_ = std::make_shared<ConsumerGroup>("g", members_max_);
    journal_.clear();
    clients_.clear();
    counts_.clear();
    ids_.clear();
    next_topic_ = 0;
    new_topics();
    for (int i = 0; i < 200; ++i) ASSERT_NO_FATAL_FAILURE(step());
    // Those that died are removed when their sessions end; then nothing moves any more.
    for (int i = 0; i < 30; ++i) {
      pass(seconds(4));
      for (auto& client : clients_) ASSERT_NO_FATAL_FAILURE(heartbeat(client, false));
    }
    ASSERT_NO_FATAL_FAILURE(check_settled());
    const auto before = journal_;
    for (auto& client : clients_) ASSERT_NO_FATAL_FAILURE(heartbeat(client, false));
    ASSERT_EQ(journal_, before);
  }
}

}  // namespace
}  // namespace millrace::broker::detail

#include "broker/detail/classic_group.h"
#include "broker/detail/consumer_group_test_util.h"

namespace millrace::broker::detail {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

// Members of the classic protocol in a group of the new one.

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

}  // namespace
}  // namespace millrace::broker::detail

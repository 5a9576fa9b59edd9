#include "broker/detail/assignors.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <random>

namespace millrace::broker::detail {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Uuid topic(uint8_t n) {
  Uuid id;
  id.bytes[0] = n;
  return id;
}

/// Members with their subscriptions; each assign() starts from the last one.
struct Trial {
  struct Member {
    std::string id;
    std::optional<std::string> instance;
    std::vector<Uuid> topics;
    PartitionSet target = {};
  };
  std::vector<Member> members;
  std::map<Uuid, int32_t> counts;

  void assign(std::string_view name) {
    std::vector<AssignorMember> told;
    for (auto& member : members) {
      std::optional<std::string_view> instance;
      if (member.instance) instance = *member.instance;
      told.push_back({member.id, instance, member.topics, &member.target});
    }
    auto targets = find_assignor(name)->assign(told, counts);
    ASSERT_EQ(targets.size(), members.size());
    for (size_t i = 0; i < members.size(); ++i) members[i].target = std::move(targets[i]);
    check();
  }
  /// Every partition of a topic with subscribers has one owner, who is subscribed.
  void check() const {
    std::map<Uuid, std::vector<int32_t>> seen;
    for (const auto& member : members) {
      for (const auto& [id, partitions] : member.target) {
        ASSERT_FALSE(partitions.empty());
        ASSERT_TRUE(std::ranges::is_sorted(partitions));
        ASSERT_TRUE(std::ranges::binary_search(member.topics, id));
        seen[id].insert(seen[id].end(), partitions.begin(), partitions.end());
      }
    }
    for (const auto& [id, count] : counts) {
      const bool wanted = std::ranges::any_of(
          members, [&](const Member& m) { return std::ranges::binary_search(m.topics, id); });
      auto& all = seen[id];
      std::ranges::sort(all);
      ASSERT_EQ(all.size(), wanted ? static_cast<size_t>(count) : 0);
      for (size_t p = 0; p < all.size(); ++p) ASSERT_EQ(all[p], static_cast<int32_t>(p));
    }
  }
  static size_t load(const Member& member) {
    size_t out = 0;
    for (const auto& [id, partitions] : member.target) out += partitions.size();
    return out;
  }
  std::vector<size_t> loads() const {
    std::vector<size_t> out;
    for (const auto& member : members) out.push_back(load(member));
    return out;
  }
};

TEST(Assignors, UniformGivesEachAsMuchAndKeepsWhatItCan) {
  Trial trial{{{"a", {}, {topic(1)}}}, {{topic(1), 7}}};
  trial.assign("uniform");
  EXPECT_THAT(trial.loads(), ElementsAre(7));
  trial.members.push_back({"b", {}, {topic(1)}});
  const auto before = trial.members[0].target;
  trial.assign("uniform");
  EXPECT_THAT(trial.loads(), ElementsAre(4, 3));
  EXPECT_THAT(trial.members[0].target[topic(1)], ElementsAre(0, 1, 2, 3));
  trial.members.push_back({"c", {}, {topic(1)}});
  trial.assign("uniform");
  EXPECT_THAT(trial.loads(), ElementsAre(3, 2, 2));
  EXPECT_THAT(trial.members[0].target[topic(1)], ElementsAre(0, 1, 2));
  EXPECT_THAT(trial.members[1].target[topic(1)], ElementsAre(4, 5));
}

TEST(Assignors, UniformCountsOverAllTopics) {
  Trial trial{
      {{"a", {}, {topic(1), topic(2), topic(3)}}, {"b", {}, {topic(1), topic(2), topic(3)}}},
      {{topic(1), 1}, {topic(2), 1}, {topic(3), 1}}};
  trial.assign("uniform");
  EXPECT_THAT(trial.loads(), ElementsAre(2, 1));
}

TEST(Assignors, MoreMembersThanPartitionsLeaveSomeIdle) {
  for (const auto& assignor : assignors()) {
    Trial trial{{{"a", {}, {topic(1)}}, {"b", {}, {topic(1)}}, {"c", {}, {topic(1)}}},
                {{topic(1), 2}}};
    trial.assign(assignor.name);
    EXPECT_THAT(trial.loads(), ElementsAre(1, 1, 0)) << assignor.name;
    EXPECT_THAT(trial.members[2].target, IsEmpty());
  }
}

TEST(Assignors, RangeDividesTopicsOfOneSizeAlikeStaticMembersFirst) {
  Trial trial{{{"a", {}, {topic(1), topic(2)}},
               {"b", "z", {topic(1), topic(2)}},
               {"c", "y", {topic(1), topic(2)}}},
              {{topic(1), 5}, {topic(2), 5}}};
  trial.assign("range");
  EXPECT_THAT(trial.members[2].target[topic(1)], ElementsAre(0, 1));
  EXPECT_THAT(trial.members[1].target[topic(1)], ElementsAre(2, 3));
  EXPECT_THAT(trial.members[0].target[topic(1)], ElementsAre(4));
  for (const auto& member : trial.members) {
    EXPECT_EQ(member.target.at(topic(1)), member.target.at(topic(2)));
  }
}

TEST(Assignors, NobodyMeansNothing) {
  const std::map<Uuid, int32_t> counts = {{topic(1), 3}};
  for (const auto& assignor : assignors()) {
    EXPECT_THAT(assignor.assign({}, counts), IsEmpty());
  }
}

TEST(Assignors, ChangesAtRandomLeaveNothingOutAndNobodyMuchMore) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    const auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
    const bool alike = seed % 2 == 0;
    Trial trial;
    for (uint8_t t = 0; t < 6; ++t) trial.counts[topic(t)] = static_cast<int32_t>(below(9) + 1);
    int next = 0;
    for (int step = 0; step < 40; ++step) {
      if (trial.members.empty() || below(3) != 0) {
        std::vector<Uuid> topics;
        for (uint8_t t = 0; t < 6; ++t) {
          if (alike || below(2) == 0) topics.push_back(topic(t));
        }
        trial.members.push_back({std::to_string(next++), {}, topics});
      } else {
        trial.members.erase(trial.members.begin() +
                            static_cast<std::ptrdiff_t>(below(trial.members.size())));
      }
      if (below(4) == 0) ++trial.counts[topic(static_cast<uint8_t>(below(6)))];
      ASSERT_NO_FATAL_FAILURE(trial.assign(below(5) == 0 ? "range" : "uniform"));
      ASSERT_NO_FATAL_FAILURE(trial.assign("uniform"));
      // Nobody could give one to another and both be better off.
      for (const auto& from : trial.members) {
        for (const auto& to : trial.members) {
          const bool could = std::ranges::any_of(from.target, [&](const auto& at) {
            return std::ranges::binary_search(to.topics, at.first);
          });
          if (could) ASSERT_LE(Trial::load(from), Trial::load(to) + 1);
        }
      }
      const auto settled = trial.members;
      ASSERT_NO_FATAL_FAILURE(trial.assign("uniform"));
      for (size_t i = 0; i < settled.size(); ++i) {
        ASSERT_EQ(settled[i].target, trial.members[i].target);
      }
    }
  }
}

}  // namespace
}  // namespace millrace::broker::detail

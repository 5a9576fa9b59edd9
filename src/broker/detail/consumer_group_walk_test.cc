#include <random>

#include "broker/detail/consumer_group_test_util.h"

namespace millrace::broker::detail {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

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

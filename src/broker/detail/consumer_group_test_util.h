#pragma once

#include <gmock/gmock.h>

#include <algorithm>

#include "base/logging.h"
#include "broker/detail/consumer_group.h"

namespace millrace::broker::detail {

inline Uuid topic_id(size_t n) {
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
  void pass(std::chrono::milliseconds time) {
    now_ += time;
    if (group_->deadline() && *group_->deadline() <= now_) group_->tick(now_);
    keep();
  }
  void restart() {
    group_ = std::make_shared<ConsumerGroup>("g", members_max_);
    for (const auto& [key, value] : journal_) {
      ASSERT_THAT(ConsumerGroup::group_of(key), testing::Optional(testing::Eq("g")));
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
  Clock::time_point now_{std::chrono::seconds(1000)};
};

}  // namespace millrace::broker::detail

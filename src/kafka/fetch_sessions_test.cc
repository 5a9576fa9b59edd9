#include <gtest/gtest.h>

#include "base/io/memory_files.h"
#include "kafka/detail/error_codes.h"
#include "kafka/detail/fake_broker.h"
#include "kafka/detail/fetch_sessions.h"

namespace millrace::kafka {
namespace {

using Opened = FetchSessions::Opened;

class FetchSessionsTest : public testing::Test {
 protected:
  std::shared_ptr<const broker::Topic> make_topic(const std::string& name, int32_t partitions) {
    catalog::Object object;
    object.kind = catalog::Kind::kTopic;
    object.name = name;
    object.partitions = partitions;
    return *runtime_.shard(0).block_on(broker_.create(std::move(object), false, false));
  }
  /// A request for the partitions `wanted` of the topic, by name.
  FetchRequest request(const std::string& topic, std::vector<int32_t> wanted, int32_t id = 0,
                       int32_t epoch = 0) {
    FetchRequest request;
    request.session_id = id;
    request.session_epoch = epoch;
    if (wanted.empty()) return request;
    auto& asked = request.topics.emplace_back();
    asked.topic = topic;
    for (const int32_t index : wanted) {
      auto& p = asked.partitions.emplace_back();
      p.partition = index;
      p.fetch_offset = 0;
      p.partition_max_bytes = 1000;
    }
    return request;
  }
  static std::vector<FetchOutcome> nothing_new(const Opened& opened) {
    return std::vector<FetchOutcome>(opened.wanted.size(), FetchOutcome{0, 0, 0, 0});
  }
  int32_t new_session(const std::string& topic, std::vector<int32_t> wanted) {
    auto full = request(topic, std::move(wanted));
    const auto opened = sessions_.open(full, 12);
    return sessions_.close(opened, nothing_new(opened)).session_id;
  }
  static std::vector<int32_t> indexes(const Opened& opened) {
    std::vector<int32_t> all;
    for (const auto& wanted : opened.wanted) all.push_back(wanted.index);
    return all;
  }

  io::Runtime runtime_{1, 1};
  io::TestEnv env_;
  FakeBroker broker_{runtime_};
  FetchSessions sessions_{env_, broker_, {.sessions_max = 2, .partitions_max = 100}};
};

TEST_F(FetchSessionsTest, KeepsWhatAClientWants) {
  make_topic("t", 4);
  const int32_t id = new_session("t", {0, 1});
  ASSERT_NE(id, 0);
  auto more = request("t", {2}, id, 1);
  auto& gone = more.forgotten_topics_data.emplace_back();
  gone.topic = "t";
  gone.partitions = {0};
  EXPECT_EQ(indexes(sessions_.open(more, 12)), (std::vector<int32_t>{1, 2}));
}

TEST_F(FetchSessionsTest, TellsOnlyWhatChanged) {
  make_topic("t", 3);
  const int32_t id = new_session("t", {0, 1, 2});
  auto next = request("t", {}, id, 1);
  auto opened = sessions_.open(next, 12);
  auto outcomes = nothing_new(opened);
  EXPECT_EQ(sessions_.close(opened, outcomes).told, (std::vector<bool>{false, false, false}));

  next = request("t", {}, id, 2);
  opened = sessions_.open(next, 12);
  outcomes[0] = {0, 5, 0, 100};  // records
  outcomes[1] = {0, 0, 3, 0};    // older ones were deleted
  EXPECT_EQ(sessions_.close(opened, outcomes).told, (std::vector<bool>{true, true, false}));

  // What gave records is the last the next time, so that the others have their turn.
  next = request("t", {}, id, 3);
  opened = sessions_.open(next, 12);
  EXPECT_EQ(indexes(opened), (std::vector<int32_t>{1, 2, 0}));
  outcomes = {{0, 0, 3, 0}, {1, -1, -1, 0}, {0, 5, 0, 0}};  // an error is told each time
  EXPECT_EQ(sessions_.close(opened, outcomes).told, (std::vector<bool>{false, true, false}));
  next = request("t", {}, id, 4);
  opened = sessions_.open(next, 12);
  EXPECT_EQ(sessions_.close(opened, outcomes).told, (std::vector<bool>{false, true, false}));
  next = request("t", {}, id, 5);
  opened = sessions_.open(next, 12);
  outcomes[1] = {0, 0, 0, 0};  // and its end, too
  EXPECT_EQ(sessions_.close(opened, outcomes).told, (std::vector<bool>{false, true, false}));
}

TEST_F(FetchSessionsTest, ChecksEpochs) {
  make_topic("t", 1);
  const int32_t id = new_session("t", {0});
  auto wrong = request("t", {}, id, 2);
  EXPECT_EQ(sessions_.open(wrong, 12).error, wire::kInvalidFetchSessionEpoch);
  auto unknown = request("t", {}, id + 1, 1);
  EXPECT_EQ(sessions_.open(unknown, 12).error, wire::kFetchSessionIdNotFound);
  auto other_version = request("t", {}, id, 1);
  EXPECT_EQ(sessions_.open(other_version, 13).error, wire::kFetchSessionTopicIdError);

  // Two at once: the first to end finds the session moved on.
  auto first = request("t", {}, id, 1);
  const auto opened = sessions_.open(first, 12);
  auto second = request("t", {}, id, 2);
  EXPECT_EQ(sessions_.open(second, 12).error, wire::kNone);
  EXPECT_EQ(sessions_.close(opened, nothing_new(opened)).error, wire::kInvalidFetchSessionEpoch);

  // A full fetch ends the session that it names.
  auto full = request("t", {0}, id, -1);
  EXPECT_EQ(sessions_.open(full, 12).kind, Opened::Kind::kNoSession);
  EXPECT_EQ(sessions_.session_count(), 0u);
}

TEST_F(FetchSessionsTest, EndsWithItsLastPartition) {
  make_topic("t", 1);
  const int32_t id = new_session("t", {0});
  auto last = request("t", {}, id, 1);
  auto& gone = last.forgotten_topics_data.emplace_back();
  gone.topic = "t";
  gone.partitions = {0};
  const auto opened = sessions_.open(last, 12);
  EXPECT_TRUE(opened.wanted.empty());
  EXPECT_EQ(sessions_.close(opened, {}).session_id, 0);
  EXPECT_EQ(sessions_.session_count(), 0u);
}

TEST_F(FetchSessionsTest, AreNoMoreThanAllowed) {
  make_topic("t", 90);
  const int32_t one = new_session("t", {0, 1});
  const int32_t two = new_session("t", {0});
  ASSERT_NE(two, 0);
  EXPECT_EQ(new_session("t", {0, 1, 2}), 0) << "both are young";
  // Used for long, the smaller one makes room for a larger one.
  env_.set_now_ms(env_.now_ms() + 121'000);
  for (const int32_t id : {one, two}) {
    auto next = request("t", {}, id, 1);
    const auto opened = sessions_.open(next, 12);
    EXPECT_EQ(sessions_.close(opened, nothing_new(opened)).session_id, id);
  }
  EXPECT_EQ(new_session("t", {0}), 0);
  const int32_t three = new_session("t", {0, 1, 2});
  EXPECT_NE(three, 0);
  auto gone = request("t", {}, two, 2);
  EXPECT_EQ(sessions_.open(gone, 12).error, wire::kFetchSessionIdNotFound);
  // Idle ones make room for any.
  env_.set_now_ms(env_.now_ms() + 121'000);
  EXPECT_NE(new_session("t", {0}), 0);
  EXPECT_EQ(sessions_.session_count(), 2u);
  // All partitions together are bounded, too.
  std::vector<int32_t> many(90);
  for (int32_t i = 0; i < 90; ++i) many[static_cast<size_t>(i)] = i;
  EXPECT_NE(new_session("t", many), 0);
  EXPECT_LE(sessions_.session_count(), 2u);
}

TEST_F(FetchSessionsTest, NoticesATopicThatWasMadeAnew) {
  const auto topic = make_topic("t", 1);
  FetchRequest full = request("", {0});
  full.topics[0].topic_id = topic->object.id;
  auto opened = sessions_.open(full, 13);
  EXPECT_NE(opened.wanted[0].partition, nullptr);
  const int32_t id = sessions_.close(opened, nothing_new(opened)).session_id;

  ASSERT_TRUE(runtime_.shard(0).block_on(broker_.drop("t")));
  auto next = request("", {}, id, 1);
  opened = sessions_.open(next, 13);
  EXPECT_EQ(opened.wanted[0].error, wire::kUnknownTopicOrPartition);
  EXPECT_TRUE(sessions_.close(opened, {{opened.wanted[0].error}}).told[0]);

  make_topic("t", 1);
  next = request("", {}, id, 2);
  EXPECT_EQ(sessions_.open(next, 13).wanted[0].error, wire::kInconsistentTopicId);

  FetchRequest strange = request("", {0});
  strange.topics[0].topic_id = Uuid::random();
  EXPECT_EQ(sessions_.open(strange, 13).wanted[0].error, wire::kUnknownTopicId);
}

}  // namespace
}  // namespace millrace::kafka

#include <gtest/gtest.h>

#include "base/io/memory_files.h"
#include "kafka/detail/fake_broker.h"
#include "kafka/detail/test_client.h"
#include "kafka/detail/test_coordinators.h"
#include "kafka/server.h"

namespace millrace::kafka {
namespace {

/// A server that may hold little.
class MemoryTest : public testing::Test {
 protected:
  void SetUp() override { coordinators_.emplace(runtime_, env_, broker_); }
  void TearDown() override {
    auto& shard = runtime_.shard(0);
    if (server_) shard.block_on(server_->close(std::chrono::seconds(10)));
    server_.reset();
    coordinators_.reset();
  }
  void listen(ServerLimits limits) {
    auto server =
        Server::listen(runtime_, env_, broker_, coordinators_->all(), "127.0.0.1:0", {}, limits);
    ASSERT_TRUE(server) << server.error().text;
    server_ = std::move(*server);
    catalog::Object topic;
    topic.kind = catalog::Kind::kTopic;
    topic.name = "t";
    topic.partitions = 1;
    ASSERT_TRUE(runtime_.shard(0).block_on(broker_.create(std::move(topic), false, false)));
  }
  ProduceRequest produce_request(size_t bytes) {
    log::BatchBuilder builder;
    builder.add(1, std::nullopt, std::string(bytes, 'x'));
    ProduceRequest request;
    request.acks = -1;
    request.timeout_ms = 10'000;
    auto& topic = request.topic_data.emplace_back();
    topic.topic_id = broker_.find("t")->object.id;
    topic.partition_data.emplace_back().records = Records(builder.finish());
    return request;
  }
  void expect_service() {
    Client client(server_->address());
    const auto answer = client.ask<ProduceResponse>(produce_request(100), 13);
    EXPECT_EQ(answer.responses.at(0).partition_responses.at(0).error_code, 0);
  }
  static std::string begun_frame(int32_t length, size_t sent) {
    Writer out;
    out.int32(length);
    return out.finish(false)->to_string() + std::string(sent, '\0');
  }

  io::Runtime runtime_{2, 1};
  io::TestEnv env_;
  FakeBroker broker_{runtime_};
  std::optional<TestCoordinators> coordinators_;
  std::unique_ptr<Server> server_;
};

TEST_F(MemoryTest, HalfRequestsThatStallMakeWayForOthers) {
  listen({.memory_bytes = 1 << 20, .stalled = std::chrono::milliseconds(200)});
  std::vector<std::unique_ptr<Client>> stalled;
  for (int i = 0; i < 4; ++i) {
    stalled.push_back(std::make_unique<Client>(server_->address()));
    stalled.back()->send_bytes(begun_frame(100 << 20, 500'000));
  }
  expect_service();
  // Those that came with half a request are closed; a whole one of any size is served.
  Client client(server_->address());
  const auto answer = client.ask<ProduceResponse>(produce_request(3 << 20), 13);
  EXPECT_EQ(answer.responses.at(0).partition_responses.at(0).error_code, 0);
}

TEST_F(MemoryTest, RequestsLargerThanAllMemoryAreServedOneByOne) {
  listen({.memory_bytes = 64 * 1024});
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(std::make_unique<Client>(server_->address()));
  }
  std::vector<std::thread> senders;
  for (auto& client : clients) {
    senders.emplace_back([&client, request = produce_request(1 << 20)]() mutable {
      client->send(std::move(request), 13);
    });
  }
  for (auto& sender : senders) sender.join();
  for (auto& client : clients) {
    const auto answer = client->receive<ProduceResponse>(13);
    EXPECT_EQ(answer.responses.at(0).partition_responses.at(0).error_code, 0);
  }
}

TEST_F(MemoryTest, AClientThatDoesNotReadHoldsUpItselfAlone) {
  listen({.memory_bytes = 4 << 20});
  {
    Client producer(server_->address());
    for (int i = 0; i < 4; ++i) producer.ask<ProduceResponse>(produce_request(900'000), 13);
  }
  Client greedy(server_->address());
  FetchRequest fetch;
  fetch.max_bytes = 50 << 20;
  fetch.session_epoch = -1;
  auto& topic = fetch.topics.emplace_back();
  topic.topic_id = broker_.find("t")->object.id;
  auto& part = topic.partitions.emplace_back();
  part.partition_max_bytes = 50 << 20;
  for (int i = 0; i < 200; ++i) greedy.send(fetch, 18);
  for (int i = 0; i < 10; ++i) expect_service();
  // It gets everything when it reads.
  for (int i = 0; i < 200; ++i) {
    const auto answer = greedy.receive<FetchResponse>(18);
    EXPECT_FALSE(answer.responses.at(0).partitions.at(0).records->bytes().empty());
  }
}

TEST_F(MemoryTest, IdleConnectionsAreClosed) {
  listen({.idle = std::chrono::milliseconds(100)});
  Client client(server_->address());
  EXPECT_EQ(client.receive_frame(), "");
}

TEST_F(MemoryTest, ConnectionsAreNoMoreThanAllowed) {
  listen({.connections_max = 2});
  expect_service();
  Client one(server_->address());
  one.ask<ProduceResponse>(produce_request(10), 13);
  Client two(server_->address());
  two.ask<ProduceResponse>(produce_request(10), 13);
  Client three(server_->address());
  EXPECT_EQ(three.receive_frame(), "");
  one.ask<ProduceResponse>(produce_request(10), 13);
}

TEST_F(MemoryTest, AClientPastItsQuotaIsToldAndKeptWaiting) {
  listen({});
  auto& shard = runtime_.shard(0);
  ASSERT_TRUE(shard.block_on(coordinators_->quotas->alter(
      {{"client-id", "test"}}, {{"producer_byte_rate", 1000.0}}, false)));
  Client client(server_->address());
  auto answer = client.ask<ProduceResponse>(produce_request(10'400), 13);
  EXPECT_GT(answer.throttle_time_ms, 0);
  const auto until = std::chrono::steady_clock::now() +
                     std::chrono::milliseconds(std::min(answer.throttle_time_ms, 300));
  client.ask<ApiVersionsResponse>(ApiVersionsRequest{}, 4);
  EXPECT_GE(std::chrono::steady_clock::now(), until);
}

TEST_F(MemoryTest, AReaderPastItsQuotaGetsItsRecordsLater) {
  listen({});
  auto& shard = runtime_.shard(0);
  const auto allow = [&](double rate) {
    return shard.block_on(coordinators_->quotas->alter({{"client-id", "test"}},
                                                       {{"consumer_byte_rate", rate}}, false));
  };
  // Each time through a connection of its own, since one that is throttled is not read.
  const auto fetch = [&] {
    FetchRequest request;
    request.session_epoch = -1;
    request.max_bytes = 1 << 20;
    auto& topic = request.topics.emplace_back();
    topic.topic_id = broker_.find("t")->object.id;
    topic.partitions.emplace_back().partition_max_bytes = 1 << 20;
    return Client(server_->address()).ask<FetchResponse>(request, 18);
  };
  Client producer(server_->address());
  producer.ask<ProduceResponse>(produce_request(6'000), 13);
  const size_t bytes = fetch().responses.at(0).partitions.at(0).records->bytes().size();
  ASSERT_GT(bytes, 6'000u);
  ASSERT_TRUE(allow(1'000));  // ten thousand at once
  EXPECT_EQ(fetch().throttle_time_ms, 0);
  const auto refused = fetch();
  EXPECT_GT(refused.throttle_time_ms, 1'000);
  EXPECT_TRUE(refused.responses.empty());
  env_.set_now_ms(env_.now_ms() + refused.throttle_time_ms);
  const auto answer = fetch();
  EXPECT_EQ(answer.throttle_time_ms, 0);
  EXPECT_EQ(answer.responses.at(0).partitions.at(0).records->bytes().size(), bytes);
  // What no wait would allow comes all the same, so that a reader never sticks.
  ASSERT_TRUE(allow(1));
  const auto large = fetch();
  EXPECT_GT(large.throttle_time_ms, 0);
  EXPECT_EQ(large.responses.at(0).partitions.at(0).records->bytes().size(), bytes);
}

TEST_F(MemoryTest, WorkOnARequestCountsAgainstItsQuotaAndWaitingDoesNot) {
  listen({});
  auto& shard = runtime_.shard(0);
  const auto allow = [&](double percent) {
    return shard.block_on(coordinators_->quotas->alter({{"client-id", "test"}},
                                                       {{"request_percentage", percent}}, false));
  };
  ASSERT_TRUE(allow(1));  // a tenth of a second, and what comes back each second
  FetchRequest fetch;     // records that never come
  fetch.session_epoch = -1;
  fetch.min_bytes = 1;
  fetch.max_wait_ms = 500;
  auto& topic = fetch.topics.emplace_back();
  topic.topic_id = broker_.find("t")->object.id;
  topic.partitions.emplace_back().partition_max_bytes = 1000;
  Client client(server_->address());
  EXPECT_EQ(client.ask<FetchResponse>(fetch, 18).throttle_time_ms, 0);
  ASSERT_TRUE(allow(0.000001));
  EXPECT_GT(client.ask<MetadataResponse>(MetadataRequest{}, 12).throttle_time_ms, 0);
}

}  // namespace
}  // namespace millrace::kafka

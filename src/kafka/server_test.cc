#include "kafka/server.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/io/memory_files.h"
#include "kafka/detail/fake_broker.h"
#include "kafka/detail/test_client.h"
#include "kafka/detail/test_coordinators.h"

namespace millrace::kafka {
namespace {

std::string batch_of(std::string_view value, int count = 1) {
  log::BatchBuilder builder;
  for (int i = 0; i < count; ++i) builder.add(1000 + i, std::nullopt, value);
  return builder.finish();
}

class ServerTest : public testing::Test {
 protected:
  void SetUp() override { start(); }
  void TearDown() override { stop(); }
  void start() {
    coordinators_.emplace(runtime_, env_, broker_);
    auto server = Server::listen(runtime_, env_, broker_, coordinators_->all(), "127.0.0.1:0");
    ASSERT_TRUE(server) << server.error().text;
    server_ = std::move(*server);
  }
  void stop() {
    if (server_) runtime_.shard(0).block_on(server_->close(std::chrono::seconds(10)));
    server_.reset();
    coordinators_.reset();
  }
  std::shared_ptr<const broker::Topic> make_topic(const std::string& name, int32_t partitions = 1,
                                                  catalog::Kind kind = catalog::Kind::kTopic) {
    catalog::Object object;
    object.kind = kind;
    object.name = name;
    object.partitions = partitions;
    return *runtime_.shard(0).block_on(broker_.create(std::move(object), false, false));
  }
  ProduceRequest produce_request(const Uuid& id, const std::string& batch, int32_t partition = 0) {
    ProduceRequest request;
    request.acks = -1;
    auto& topic = request.topic_data.emplace_back();
    topic.topic_id = id;
    auto& data = topic.partition_data.emplace_back();
    data.index = partition;
    data.records = Records(batch);
    return request;
  }
  FetchRequest fetch_request(const Uuid& id, Offset from, int32_t max_wait_ms) {
    FetchRequest request;
    request.max_wait_ms = max_wait_ms;
    request.min_bytes = 1;
    auto& topic = request.topics.emplace_back();
    topic.topic_id = id;
    auto& part = topic.partitions.emplace_back();
    part.fetch_offset = from;
    part.partition_max_bytes = 1 << 20;
    return request;
  }

  io::Runtime runtime_{2, 1};
  io::TestEnv env_{4, 0};
  FakeBroker broker_{runtime_};
  std::optional<TestCoordinators> coordinators_;
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, TellsItsVersions) {
  Client client(server_->address());
  ApiVersionsRequest request;
  request.client_software_name = "test";
  request.client_software_version = "1.0";
  auto response = client.ask<ApiVersionsResponse>(request, 4);
  EXPECT_EQ(response.error_code, 0);
  ASSERT_FALSE(response.api_keys.empty());
  EXPECT_EQ(response.api_keys[0].api_key, 0);
  EXPECT_EQ(response.api_keys[0].min_version, 0);  // KAFKA-18659
  EXPECT_EQ(response.api_keys[0].max_version, 13);
  for (const auto& api : response.api_keys)
    EXPECT_NE(api.api_key, 88);  // groups of Streams are not offered
}

TEST_F(ServerTest, AnswersAnUnknownVersionOfApiVersionsInVersionZero) {
  Client client(server_->address());
  Writer out;
  out.int16(18);
  out.int16(99);
  out.int32(7);
  out.string(std::string_view("x"), false);
  out.varint(0);
  client.send_bytes(out.finish(true)->to_string());
  const auto frame = client.receive_frame();
  Reader in(frame);
  EXPECT_EQ(in.int32(), 7);
  ApiVersionsResponse response;
  response.read(in, 0);
  EXPECT_TRUE(in.ok());
  EXPECT_EQ(response.error_code, 35);
  ASSERT_EQ(response.api_keys.size(), 1u);
  EXPECT_EQ(response.api_keys[0].max_version, 4);
}

TEST_F(ServerTest, ProducesAndFetchesAtEveryVersion) {
  const auto topic = make_topic("t");
  Client client(server_->address());
  Offset next = 0;
  for (int16_t v = 3; v <= 13; ++v) {
    auto request = produce_request(topic->object.id, batch_of("hello", 3));
    request.topic_data[0].name = "t";
    auto response = client.ask<ProduceResponse>(std::move(request), v);
    const auto& answer = response.responses.at(0).partition_responses.at(0);
    EXPECT_EQ(answer.error_code, 0) << v;
    EXPECT_EQ(answer.base_offset, next);
    next += 3;
  }
  for (int16_t v = 4; v <= 18; ++v) {
    auto request = fetch_request(topic->object.id, 4, 1000);
    request.topics[0].topic = "t";
    auto response = client.ask<FetchResponse>(std::move(request), v);
    EXPECT_EQ(response.session_id, 0);
    const auto& part = response.responses.at(0).partitions.at(0);
    EXPECT_EQ(part.error_code, 0);
    EXPECT_EQ(part.high_watermark, next);
    auto header = log::parse_batch_header(part.records->bytes());
    ASSERT_TRUE(header);
    EXPECT_EQ(header->base_offset, 3);  // the batch that holds offset 4
  }
}

TEST_F(ServerTest, RunsProducesAtOnceAndAnswersThemInOrder) {
  const auto topic = make_topic("t", 2);
  broker_.partition("t", 0).held = true;
  Client client(server_->address());
  for (int i = 0; i < 5; ++i) {
    client.send(produce_request(topic->object.id, batch_of("slow")), 13);
  }
  client.send(produce_request(topic->object.id, batch_of("fast"), 1), 13);
  while (broker_.partition("t", 0).appending < 5) std::this_thread::yield();
  while (broker_.partition("t", 1).high_watermark() < 1) std::this_thread::yield();
  broker_.partition("t", 0).release();
  for (int i = 0; i < 6; ++i) {
    auto response = client.receive<ProduceResponse>(13);
    const auto& answer = response.responses.at(0).partition_responses.at(0);
    EXPECT_EQ(answer.error_code, 0);
    EXPECT_EQ(answer.index, i < 5 ? 0 : 1);
    EXPECT_EQ(answer.base_offset, i < 5 ? i : 0);
  }
}

TEST_F(ServerTest, HandlesOtherRequestsAfterTheProducesBeforeThem) {
  const auto topic = make_topic("t");
  broker_.partition("t").held = true;
  Client client(server_->address());
  client.send(produce_request(topic->object.id, batch_of("x")), 13);
  ListOffsetsRequest latest;
  latest.topics.emplace_back().name = "t";
  latest.topics[0].partitions.emplace_back().timestamp = -1;
  client.send(latest, 11);
  while (broker_.partition("t").appending < 1) std::this_thread::yield();
  broker_.partition("t").release();
  client.receive<ProduceResponse>(13);
  auto response = client.receive<ListOffsetsResponse>(11);
  EXPECT_EQ(response.topics.at(0).partitions.at(0).offset, 1);
}

TEST_F(ServerTest, AppendsToManyPartitionsOfOneRequest) {
  const auto topic = make_topic("t", 4);
  auto request = produce_request(topic->object.id, batch_of("a"));
  for (int32_t i = 1; i < 6; ++i) {  // 4 and 5 do not exist
    auto& data = request.topic_data[0].partition_data.emplace_back();
    data.index = i;
    data.records = Records(batch_of("b"));
  }
  Client client(server_->address());
  auto response = client.ask<ProduceResponse>(std::move(request), 13);
  const auto& answers = response.responses.at(0).partition_responses;
  ASSERT_EQ(answers.size(), 6u);
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(answers[i].error_code, i < 4 ? 0 : 3) << i;
}

TEST_F(ServerTest, SendsNoAnswerToAcksZeroAndKeepsTheOrder) {
  const auto topic = make_topic("t");
  Client client(server_->address());
  auto request = produce_request(topic->object.id, batch_of("x"));
  request.acks = 0;
  client.send(std::move(request), 13);
  client.expect_no_answer_to_one();
  auto response = client.ask<ProduceResponse>(produce_request(topic->object.id, batch_of("y")), 13);
  EXPECT_EQ(response.responses.at(0).partition_responses.at(0).base_offset, 1);
}

TEST_F(ServerTest, ClosesTheConnectionWhenAcksZeroFails) {
  auto request = produce_request(Uuid::random(), batch_of("x"));
  request.acks = 0;
  Client client(server_->address());
  client.send(std::move(request), 13);
  EXPECT_EQ(client.receive_frame(), "");
}

TEST_F(ServerTest, TellsProducersWhatIsWrong) {
  const auto topic = make_topic("t");
  const auto view = make_topic("v", 1, catalog::Kind::kMaterializedView);
  Client client(server_->address());
  const auto code = [&](ProduceRequest request, int16_t version = 13) {
    auto response = client.ask<ProduceResponse>(std::move(request), version);
    return response.responses.at(0).partition_responses.at(0).error_code;
  };
  EXPECT_EQ(code(produce_request(Uuid::random(), batch_of("x"))), 100);
  EXPECT_EQ(code(produce_request(view->object.id, batch_of("x"))), 29);
  EXPECT_EQ(code(produce_request(topic->object.id, batch_of("x"), 9)), 3);
  auto request = produce_request(topic->object.id, batch_of("x"));
  request.acks = 2;
  EXPECT_EQ(code(std::move(request)), 21);
  auto transactional = batch_of("x");
  transactional[22] = static_cast<char>(transactional[22] | 16);
  EXPECT_EQ(code(produce_request(topic->object.id, transactional)), 53);
  request = produce_request(topic->object.id, transactional);
  request.transactional_id = "tx";
  EXPECT_EQ(code(std::move(request)), 49);  // nobody was given this id
  auto bad = batch_of("x");
  bad.back() = static_cast<char>(bad.back() ^ 1);
  EXPECT_EQ(code(produce_request(topic->object.id, bad)), 2);
  auto control = batch_of("x");
  control[22] = static_cast<char>(control[22] | 32);
  EXPECT_EQ(code(produce_request(topic->object.id, control)), 87);
  auto zstd = batch_of("x");
  zstd[22] = static_cast<char>(zstd[22] | 4);
  request = produce_request(topic->object.id, zstd);
  request.topic_data[0].name = "t";
  EXPECT_EQ(code(std::move(request), 6), 76);
  broker_.partition("t").broken = true;
  EXPECT_EQ(code(produce_request(topic->object.id, batch_of("x"))), 56);
}

TEST_F(ServerTest, FetchWaitsForRecords) {
  const auto topic = make_topic("t", 3);
  Client consumer(server_->address());
  Client producer(server_->address());
  auto request = fetch_request(topic->object.id, 0, 60'000);
  for (int32_t i = 1; i < 3; ++i) {
    request.topics[0].partitions.push_back(request.topics[0].partitions[0]);
    request.topics[0].partitions.back().partition = i;
  }
  for (Offset round = 0; round < 3; ++round) {
    request.topics[0].partitions[2].fetch_offset = round;
    consumer.send(request, 18);
    producer.ask<ProduceResponse>(produce_request(topic->object.id, batch_of("x"), 2), 13);
    auto response = consumer.receive<FetchResponse>(18);
    ASSERT_EQ(response.responses.at(0).partitions.size(), 3u);
    EXPECT_FALSE(response.responses[0].partitions[2].records->bytes().empty());
    EXPECT_EQ(response.responses[0].partitions[0].records->bytes().size(), 0u);
  }
}

TEST_F(ServerTest, FetchAnswersEmptyAtItsDeadlineAndAtOnceOnErrors) {
  const auto topic = make_topic("t");
  Client client(server_->address());
  auto response = client.ask<FetchResponse>(fetch_request(topic->object.id, 0, 10), 18);
  EXPECT_EQ(response.responses.at(0).partitions.at(0).error_code, 0);
  response = client.ask<FetchResponse>(fetch_request(topic->object.id, 5, 60'000), 18);
  EXPECT_EQ(response.responses.at(0).partitions.at(0).error_code, 1);
  response = client.ask<FetchResponse>(fetch_request(Uuid::random(), 0, 60'000), 18);
  EXPECT_EQ(response.responses.at(0).partitions.at(0).error_code, 100);
  auto request = fetch_request(topic->object.id, 0, 60'000);
  request.session_id = 5;
  request.session_epoch = 1;
  EXPECT_EQ(client.ask<FetchResponse>(std::move(request), 18).error_code, 70);
}

TEST_F(ServerTest, FetchHonoursItsLimits) {
  const auto topic = make_topic("t", 2);
  Client client(server_->address());
  const std::string large(1000, 'x');
  for (int32_t i = 0; i < 4; ++i) {
    client.ask<ProduceResponse>(produce_request(topic->object.id, batch_of(large), i % 2), 13);
  }
  auto request = fetch_request(topic->object.id, 0, 0);
  request.topics[0].partitions.push_back(request.topics[0].partitions[0]);
  request.topics[0].partitions[1].partition = 1;
  request.max_bytes = 1;  // one batch, so that a consumer never sticks
  auto response = client.ask<FetchResponse>(request, 18);
  const auto one_batch = batch_of(large).size();
  EXPECT_EQ(response.responses[0].partitions[0].records->bytes().size(), one_batch);
  EXPECT_EQ(response.responses[0].partitions[1].records->bytes().size(), 0u);
  request.max_bytes = 1 << 20;
  request.topics[0].partitions[0].partition_max_bytes = static_cast<int32_t>(one_batch + 5);
  response = client.ask<FetchResponse>(request, 18);
  EXPECT_EQ(response.responses[0].partitions[0].records->bytes().size(), one_batch);
  EXPECT_EQ(response.responses[0].partitions[1].records->bytes().size(), 2 * one_batch);
}

TEST_F(ServerTest, MetadataCreatesTopicsWhenAllowed) {
  Client client(server_->address());
  MetadataRequest request;
  request.topics->emplace_back().name = "new";
  request.allow_auto_topic_creation = false;
  auto response = client.ask<MetadataResponse>(request, 13);
  EXPECT_EQ(response.topics.at(0).error_code, 3);
  request.allow_auto_topic_creation = true;
  response = client.ask<MetadataResponse>(request, 13);
  EXPECT_EQ(response.topics.at(0).error_code, 0);
  EXPECT_EQ(response.topics[0].partitions.size(), 1u);
  EXPECT_FALSE(response.topics[0].topic_id.is_zero());
  EXPECT_EQ(response.brokers.at(0).host + ":" + std::to_string(response.brokers[0].port),
            server_->address());
  EXPECT_EQ(response.cluster_id->size(), 22u);

  request.topics->clear();
  auto& by_id = request.topics->emplace_back();
  by_id.topic_id = response.topics[0].topic_id;
  by_id.name = std::nullopt;
  response = client.ask<MetadataResponse>(request, 12);
  EXPECT_EQ(response.topics.at(0).name, "new");
  (*request.topics)[0].topic_id = Uuid::random();
  EXPECT_EQ(client.ask<MetadataResponse>(request, 12).topics.at(0).error_code, 100);

  request.topics = std::nullopt;  // all
  EXPECT_EQ(client.ask<MetadataResponse>(request, 9).topics.size(), 1u);
  EXPECT_EQ(client.ask<MetadataResponse>(MetadataRequest(), 0).topics.size(), 1u);
  EXPECT_EQ(client.ask<MetadataResponse>(MetadataRequest(), 1).topics.size(), 0u);
}

TEST_F(ServerTest, TheClusterKeepsItsId) {
  const auto id = [&] {
    Client client(server_->address());
    return client.ask<MetadataResponse>(MetadataRequest(), 13).cluster_id.value();
  };
  const auto before = id();
  stop();
  start();
  EXPECT_EQ(id(), before);
}

TEST_F(ServerTest, CreatesDescribesAltersAndDeletesTopics) {
  Client client(server_->address());
  CreateTopicsRequest create;
  const auto add = [&](std::string name, int32_t partitions, int16_t replication) {
    auto& topic = create.topics.emplace_back();
    topic.name = std::move(name);
    topic.num_partitions = partitions;
    topic.replication_factor = replication;
    return &create.topics.back();
  };
  add("a", 3, 1)->configs.push_back({"retention.ms", "1000"});
  add("b", -1, -1);
  add("c", 1, 3);
  add("d", 0, 1);
  add("e", 1, 1)->configs.push_back({"no.such.option", "1"});
  add("f", 1, 1);
  add("f", 1, 1);
  auto created = client.ask<CreateTopicsResponse>(create, 7);
  std::map<std::string, int> codes;
  for (const auto& topic : created.topics) codes[topic.name] = topic.error_code;
  EXPECT_EQ(codes, (std::map<std::string, int>{
                       {"a", 0}, {"b", 0}, {"c", 38}, {"d", 37}, {"e", 40}, {"f", 42}}));
  EXPECT_EQ(created.topics[0].num_partitions, 3);
  EXPECT_FALSE(created.topics[0].configs->empty());

  const auto retention = [&] {
    DescribeConfigsRequest describe;
    auto& resource = describe.resources.emplace_back();
    resource.resource_type = 2;
    resource.resource_name = "a";
    resource.configuration_keys = {"retention.ms"};
    describe.include_synonyms = true;
    describe.include_documentation = true;
    auto described = client.ask<DescribeConfigsResponse>(describe, 4);
    const auto& config = described.results.at(0).configs.at(0);
    EXPECT_FALSE(config.documentation->empty());
    return std::pair(config.value.value(), config.synonyms.size());
  };
  EXPECT_EQ(retention(), (std::pair<std::string, size_t>("1000", 2)));

  IncrementalAlterConfigsRequest alter;
  auto& resource = alter.resources.emplace_back();
  resource.resource_type = 2;
  resource.resource_name = "a";
  resource.configs.push_back({"retention.ms", 0, "2000"});
  EXPECT_EQ(client.ask<IncrementalAlterConfigsResponse>(alter, 1).responses.at(0).error_code, 0);
  EXPECT_EQ(retention().first, "2000");
  alter.resources[0].configs = {{"retention.ms", 1, std::nullopt}};
  EXPECT_EQ(client.ask<IncrementalAlterConfigsResponse>(alter, 1).responses.at(0).error_code, 0);
  EXPECT_EQ(retention(), (std::pair<std::string, size_t>("604800000", 1)));

  DeleteTopicsRequest remove;
  remove.topics.emplace_back().name = "a";
  remove.topics.emplace_back().topic_id = broker_.find("b")->object.id;
  remove.topics.emplace_back().name = "nothing";
  auto removed = client.ask<DeleteTopicsResponse>(remove, 6);
  EXPECT_EQ(removed.responses.at(0).error_code, 0);
  EXPECT_EQ(removed.responses.at(1).error_code, 0);
  EXPECT_EQ(removed.responses.at(2).error_code, 3);
  EXPECT_TRUE(broker_.list().empty());
}

TEST_F(ServerTest, RefusesToDeleteWhatSqlMade) {
  make_topic("a_table", 1, catalog::Kind::kTable);
  Client client(server_->address());
  DeleteTopicsRequest remove;
  remove.topics.emplace_back().name = "a_table";
  auto removed = client.ask<DeleteTopicsResponse>(remove, 6);
  EXPECT_EQ(removed.responses.at(0).error_code, 42);
  EXPECT_NE(removed.responses[0].error_message->find("in SQL"), std::string::npos);
}

TEST_F(ServerTest, ListsOffsets) {
  const auto topic = make_topic("t");
  Client client(server_->address());
  for (int i = 0; i < 3; ++i) {
    client.ask<ProduceResponse>(produce_request(topic->object.id, batch_of("x", 2)), 13);
  }
  const auto offset = [&](int64_t timestamp, int16_t version = 11) {
    ListOffsetsRequest request;
    request.topics.emplace_back().name = "t";
    request.topics[0].partitions.emplace_back().timestamp = timestamp;
    auto response = client.ask<ListOffsetsResponse>(request, version);
    const auto& answer = response.topics.at(0).partitions.at(0);
    return answer.error_code == 0 ? answer.offset : -1000 - answer.error_code;
  };
  EXPECT_EQ(offset(-2), 0);
  EXPECT_EQ(offset(-1), 6);
  EXPECT_EQ(offset(-1, 1), 6);
  EXPECT_EQ(offset(-3), 1);
  EXPECT_EQ(offset(-4), 0);
  EXPECT_EQ(offset(-5), -1);
  EXPECT_EQ(offset(0), 0);
  EXPECT_EQ(offset(5000), -1);
  EXPECT_EQ(offset(-77), -1035);

  DeleteRecordsRequest remove;
  remove.topics.emplace_back().name = "t";
  remove.topics[0].partitions.emplace_back().offset = 4;
  auto removed = client.ask<DeleteRecordsResponse>(remove, 2);
  EXPECT_EQ(removed.topics.at(0).partitions.at(0).low_watermark, 4);
  EXPECT_EQ(offset(-2), 4);
}

TEST_F(ServerTest, DescribesTopicPartitionsInPages) {
  make_topic("a", 3);
  make_topic("b", 3);
  Client client(server_->address());
  DescribeTopicPartitionsRequest request;
  request.response_partition_limit = 4;
  auto page = client.ask<DescribeTopicPartitionsResponse>(request, 0);
  ASSERT_EQ(page.topics.size(), 2u);
  EXPECT_EQ(page.topics[1].partitions.size(), 1u);
  ASSERT_TRUE(page.next_cursor);
  auto& cursor = request.cursor.emplace();
  cursor.topic_name = page.next_cursor->topic_name;
  cursor.partition_index = page.next_cursor->partition_index;
  page = client.ask<DescribeTopicPartitionsResponse>(request, 0);
  ASSERT_EQ(page.topics.size(), 1u);
  EXPECT_EQ(page.topics[0].partitions.size(), 2u);
  EXPECT_FALSE(page.next_cursor);
}

TEST_F(ServerTest, GivesProducerIds) {
  Client client(server_->address());
  const auto first = client.ask<InitProducerIdResponse>(InitProducerIdRequest(), 5);
  EXPECT_EQ(first.error_code, 42);  // the default transactional id is "", not null
  InitProducerIdRequest request;
  request.transactional_id = std::nullopt;
  const auto a = client.ask<InitProducerIdResponse>(request, 5);
  const auto b = client.ask<InitProducerIdResponse>(request, 0);
  EXPECT_EQ(a.error_code, 0);
  EXPECT_EQ(a.producer_epoch, 0);
  EXPECT_NE(a.producer_id, b.producer_id);
}

TEST_F(ServerTest, ClosesOnHostileBytesAndServesOthers) {
  Client good(server_->address());
  const std::string_view evil[] = {
      std::string_view("\xff\xff\xff\xff", 4),                         // length
      std::string_view("GET / HTTP/1.1\r\n\r\n"),                      // another protocol
      std::string_view("\0\0\0\1\0", 5),                               // no header
      std::string_view("\0\0\0\x0a\x0b\xad\0\0\0\0\0\1\xff\xff", 14),  // unknown API
      std::string_view("\0\0\0\x0a\0\0\0\1\0\0\0\1\xff\xff", 14),      // Produce v1
      std::string_view("\0\0\0\x0e\0\3\0\1\0\0\0\1\xff\xff\x7f\xff\xff\xff", 18),  // huge array
  };
  for (auto bytes : evil) {
    Client client(server_->address());
    client.send_bytes(bytes);
    EXPECT_EQ(client.receive_frame(), "");
    EXPECT_EQ(good.ask<MetadataResponse>(MetadataRequest(), 13).error_code, 0);
  }
}

TEST_F(ServerTest, AnswersWhatItHasReadWhenItStops) {
  const auto topic = make_topic("t");
  Client poller(server_->address());
  poller.send(fetch_request(topic->object.id, 0, 60'000), 18);
  Client producer(server_->address());
  broker_.partition("t").held = true;
  producer.send(produce_request(topic->object.id, batch_of("x")), 13);
  while (broker_.partition("t").appending < 1) std::this_thread::yield();
  std::thread closer([&] { stop(); });
  auto polled = poller.receive<FetchResponse>(18);  // at once, not at its deadline
  EXPECT_EQ(polled.responses.size(), 1u);
  broker_.partition("t").release();
  auto produced = producer.receive<ProduceResponse>(13);
  EXPECT_EQ(produced.responses.at(0).partition_responses.at(0).error_code, 0);
  EXPECT_EQ(producer.receive_frame(), "");
  closer.join();
}

}  // namespace
}  // namespace millrace::kafka

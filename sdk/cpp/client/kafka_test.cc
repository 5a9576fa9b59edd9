#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "client_test_util.h"
#include "detail/kafka.h"

namespace millrace::client {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

/// Librdkafka's own Kafka, in this process.
class ClientKafka : public testing::Test {
 protected:
  void SetUp() override {
    owner_.reset(rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), nullptr, 0));
    cluster_ = rd_kafka_mock_cluster_new(owner_.get(), 1);
    rd_kafka_mock_topic_create(cluster_, "t", 1, 1);
  }
  void TearDown() override { rd_kafka_mock_cluster_destroy(cluster_); }

  Options options(std::vector<Transform> transforms) {
    return {.node = node_.address(),
            .transforms = std::move(transforms),
            .kafka = {{"bootstrap.servers", rd_kafka_mock_cluster_bootstraps(cluster_)}},
            .look_again = 5ms};
  }
  std::unique_ptr<Producer> producer(std::vector<Transform> transforms) {
    auto opened = Producer::open(options(std::move(transforms)));
    EXPECT_TRUE(opened) << opened.error().text;
    return std::move(*opened);
  }
  std::unique_ptr<Consumer> consumer(const std::string& topic, std::vector<Transform> transforms) {
    auto told = options(std::move(transforms));
    told.kafka["group.id"] = "g";
    told.kafka["auto.offset.reset"] = "earliest";
    told.kafka["enable.auto.commit"] = "false";
    auto opened = Consumer::open(std::move(told), {topic});
    EXPECT_TRUE(opened) << opened.error().text;
    return std::move(*opened);
  }
  static void send(Producer& to, const std::vector<std::string>& values) {
    std::vector<Record> records;
    for (const auto& value : values) records.push_back({.topic = "t", .key = "k", .value = value});
    const auto sent = to.send(std::move(records));
    EXPECT_TRUE(sent) << sent.error().text;
    EXPECT_TRUE(to.flush(30s));
  }
  /// Until `count` came, or an error.
  static Result<std::vector<Record>> take(Consumer& from, size_t count) {
    std::vector<Record> all;
    while (all.size() < count) {
      MR_TRY(auto some, from.consume(100ms));
      std::ranges::move(some, std::back_inserter(all));
    }
    return all;
  }
  static std::vector<std::string> values(const std::vector<Record>& records) {
    std::vector<std::string> out;
    for (const auto& record : records) out.push_back(*record.value);
    return out;
  }

  /// Where the group goes on with the topic; negative: nothing is known.
  int64_t committed() {
    auto* conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(cluster_),
                      nullptr, 0);
    rd_kafka_conf_set(conf, "group.id", "g", nullptr, 0);
    const detail::Handle asking(rd_kafka_new(RD_KAFKA_CONSUMER, conf, nullptr, 0));
    auto* list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, "t", 0);
    EXPECT_EQ(rd_kafka_committed(asking.get(), list, 30'000), RD_KAFKA_RESP_ERR_NO_ERROR);
    const auto offset = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    return offset;
  }

  FakeNode node_{FakeNode::ok(bytes_of(steps()))};
  detail::Handle owner_;
  rd_kafka_mock_cluster_t* cluster_ = nullptr;
};

TEST_F(ClientKafka, TriesARejectedBatchAgainUntilItsModuleIsReplaced) {
  send(*producer({}), {"t1", "a2", "a3"});
  const auto from = consumer("t", {{.function = "steps", .export_name = "trap"}});
  for (int i = 0; i < 3; ++i) {
    const auto failed = take(*from, 1);
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, ErrorCode::kGuestFailed);
  }
  auto harmless = steps();
  const std::string trap = "(then unreachable)";
  node_.set(
      FakeNode::ok(bytes_of(harmless.replace(harmless.find(trap), trap.size(), "(then nop)"))));
  Result<std::vector<Record>> got = Error{};
  while (!got) got = take(*from, 3);
  EXPECT_EQ(values(*got), (std::vector<std::string>{"t1", "a2", "a3"}));
  EXPECT_EQ(got->back().offset, 2);
}

TEST_F(ClientKafka, CommitsWhatItHasGivenAndSendsNothingOfWhatIsRejected) {
  const auto to = producer({{.function = "steps", .export_name = "strict"}});
  EXPECT_FALSE(to->send({{.topic = "t", .value = "a"}, {.topic = "t", .value = "bad"}}));
  send(*to, {"a1", "d", "a2", "d"});
  EXPECT_EQ(to->counts().records_in, 6u);
  EXPECT_EQ(to->counts().records_out, 4u);
  EXPECT_EQ(to->counts().failed, 1u);

  const auto from = consumer("t", {{.function = "steps", .export_name = "keep"}});
  EXPECT_EQ(values(*take(*from, 2)), (std::vector<std::string>{"a1", "a2"}));
  EXPECT_LT(committed(), 0);
  ASSERT_TRUE(from->consume(100ms));  // what is behind the last that was kept
  ASSERT_TRUE(from->commit());
  EXPECT_EQ(committed(), 4);
  send(*to, {"a3"});
  EXPECT_EQ(values(*take(*from, 1)), (std::vector<std::string>{"a3"}));
  EXPECT_EQ(committed(), 4);
}

TEST_F(ClientKafka, TellsWhatItCannotBe) {
  auto wrong = options({});
  wrong.kafka["group.id"] = "g";
  wrong.kafka["no.such.property"] = "1";
  EXPECT_EQ(Producer::open(wrong).error().code, ErrorCode::kInvalidConfig);
  EXPECT_THAT(Consumer::open(wrong, {"t"}).error().text, HasSubstr("no.such.property"));
  auto transactional = options({});
  transactional.kafka["transactional.id"] = "x";
  EXPECT_EQ(Producer::open(transactional).error().code, ErrorCode::kNotSupported);
  EXPECT_THAT(Consumer::open(options({}), {"t"}).error().text, HasSubstr("group.id"));
}

}  // namespace
}  // namespace millrace::client

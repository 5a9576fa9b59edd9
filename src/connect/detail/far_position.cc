#include "connect/detail/far_position.h"

#include <fmt/format.h>

#include <thread>

namespace millrace::connect {

namespace {

constexpr int kPollMs = 100;
/// Another sink's transaction may be open that long, at most.
constexpr auto kReadLimit = std::chrono::seconds(30);
/// Records at the end that are looked at first. It doubles until ours is among them.
constexpr int64_t kTail = 64;
/// What is in the last segment is not compacted: a small one keeps the topic short.
constexpr const char* kSegmentBytes = "1048576";

using NewTopic = std::unique_ptr<rd_kafka_NewTopic_t, Frees<rd_kafka_NewTopic_destroy>>;
using AdminOptions = std::unique_ptr<rd_kafka_AdminOptions_t, Frees<rd_kafka_AdminOptions_destroy>>;
using Event = std::unique_ptr<rd_kafka_event_t, Frees<rd_kafka_event_destroy>>;

}  // namespace

Result<> FarPosition::prepare(KafkaClient& client) {
  auto there = client.partitions(place_.topic);
  if (there) return {};
  if (there.error().code != ErrorCode::kUndefinedObject) return there.error();
  MR_TRY(create(client));
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(kKafkaAnswerMs);
  while (!(there = client.partitions(place_.topic))) {
    if (std::chrono::steady_clock::now() > deadline || progress_.stopping()) return there.error();
    std::this_thread::sleep_for(std::chrono::milliseconds(kPollMs));
  }
  return {};
}

Result<> FarPosition::create(KafkaClient& client) {
  const auto doing = fmt::format("creating the topic {} in kafka", place_.topic);
  char text[512];
  constexpr int kReplicasOfTheBroker = -1;
  const NewTopic topic(
      rd_kafka_NewTopic_new(place_.topic.c_str(), 1, kReplicasOfTheBroker, text, sizeof text));
  if (!topic) return Error{ErrorCode::kInvalidConfig, fmt::format("{}: {}", doing, text)};
  rd_kafka_NewTopic_set_config(topic.get(), "cleanup.policy", "compact");
  rd_kafka_NewTopic_set_config(topic.get(), "segment.bytes", kSegmentBytes);
  const AdminOptions options(
      rd_kafka_AdminOptions_new(client.handle(), RD_KAFKA_ADMIN_OP_CREATETOPICS));
  rd_kafka_AdminOptions_set_request_timeout(options.get(), kKafkaAnswerMs, text, sizeof text);
  const KafkaQueue queue(rd_kafka_queue_new(client.handle()));
  rd_kafka_NewTopic_t* topics[] = {topic.get()};
  rd_kafka_CreateTopics(client.handle(), topics, 1, options.get(), queue.get());
  const Event event(rd_kafka_queue_poll(queue.get(), kKafkaAnswerMs + kPollMs));
  if (!event) return kafka_error(RD_KAFKA_RESP_ERR__TIMED_OUT, doing);
  if (rd_kafka_event_error(event.get()) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return kafka_error(rd_kafka_event_error(event.get()), doing);
  }
  size_t count = 0;
  const auto* const outcomes =
      rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event.get()), &count);
  if (count != 1) return kafka_error(RD_KAFKA_RESP_ERR__BAD_MSG, doing);
  const auto code = rd_kafka_topic_result_error(outcomes[0]);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
    return {};
  }
  auto error = kafka_error(code, doing);
  error.hint =
      "Create it there, with one partition and cleanup.policy = compact, or name another "
      "by positions_topic.";
  return error;
}

Result<std::optional<std::string>> FarPosition::read(KafkaClient& client) {
  // The end of all records, not of the committed ones: ours may stand behind a transaction that
  // another sink has open.
  MR_TRY(const auto low, client.offset(place_.topic, 0, RD_KAFKA_OFFSET_BEGINNING));
  MR_TRY(const auto high, client.offset(place_.topic, 0, RD_KAFKA_OFFSET_END));
  KafkaClient reader;
  MR_TRY(reader.start(RD_KAFKA_CONSUMER, settings_,
                      {{"group.id", place_.key},
                       {"enable.auto.commit", "false"},
                       {"auto.offset.reset", "earliest"},
                       {"isolation.level", "read_committed"},
                       {"enable.partition.eof", "true"},
                       {"fetch.wait.max.ms", "10"}}));
  auto until = high;
  for (int64_t tail = kTail; until > low; tail *= 2) {
    const auto from = std::max(low, high - tail);
    MR_TRY(auto found, last_in(reader, from, until));
    if (found) return found;
    until = from;
  }
  return std::optional<std::string>();
}

Result<std::optional<std::string>> FarPosition::last_in(KafkaClient& reader, int64_t from,
                                                        int64_t until) {
  const KafkaPartitions one(rd_kafka_topic_partition_list_new(1));
  rd_kafka_topic_partition_list_add(one.get(), place_.topic.c_str(), 0)->offset = from;
  const auto code = rd_kafka_assign(reader.handle(), one.get());
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return kafka_error(code, "assigning partitions");
  std::optional<std::string> found;
  const auto deadline = std::chrono::steady_clock::now() + kReadLimit;
  while (std::chrono::steady_clock::now() < deadline) {
    const KafkaMessage message(rd_kafka_consumer_poll(reader.handle(), kPollMs));
    if (progress_.overdue()) return Error{ErrorCode::kCancelled, "the sink is to stop"};
    if (!message) {
      MR_TRY(reader.health());
      continue;
    }
    const bool end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR && !end) {
      return kafka_error(message->err, "reading the position of the sink from kafka");
    }
    if (message->offset >= until) return found;
    const std::string_view key(static_cast<const char*>(message->key), message->key_len);
    if (end || key != place_.key) continue;
    found.emplace(static_cast<const char*>(message->payload), message->len);
  }
  return Error{ErrorCode::kConnectionClosed,
               fmt::format("reading the position of the sink from kafka: a transaction of another "
                           "client is open in {}",
                           place_.topic)};
}

}  // namespace millrace::connect

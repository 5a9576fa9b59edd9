#include <charconv>
#include <functional>
#include <map>
#include <set>

#include "app/cli.h"
#include "app/kafka_client.h"
#include "app/table_printer.h"
#include "broker/dead_letter.h"

namespace millrace::app {

namespace {

/// Replays remember how far they came as this group's offsets.
constexpr const char* kGroup = "millrace-dead-letter-replay";

struct Letter {
  std::string reason, topic, partition, offset;
  int64_t timestamp = -1;
  struct Header {
    std::string name;
    std::optional<std::string> value;
  };
  std::vector<Header> headers;  // the record's own
};

/// Takes off the headers that were put before the record's own (broker/dead_letter.h).
Letter open(const rd_kafka_message_t* message) {
  Letter letter;
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return letter;
  const char* name = nullptr;
  const void* bytes = nullptr;
  size_t size = 0;
  for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &bytes, &size); ++i) {
    std::optional<std::string> value;
    if (bytes) value.emplace(static_cast<const char*>(bytes), size);
    const std::string_view key = name;
    const std::string text = value.value_or("");
    if (i == 0 && key == "reason") {
      letter.reason = text;
    } else if (i == 1 && key == "topic") {
      letter.topic = text;
    } else if (i == 2 && key == "partition") {
      letter.partition = text;
    } else if (i == 3 && key == "offset") {
      letter.offset = text;
    } else if (i == 4 && key == "timestamp") {
      std::from_chars(text.data(), text.data() + text.size(), letter.timestamp);
    } else if (!(i == 5 && key == "group") && !(i == 6 && key == "delivery_count")) {
      letter.headers.push_back({name, std::move(value)});
    }
  }
  return letter;
}

/// How far reading came, and the client by which that can be remembered.
struct Reached {
  KafkaHandle client;
  KafkaPartitions offsets;  // of partitions that had something
};

/// The letters' partitions, each at where the last replay came to, or at its beginning.
Result<KafkaPartitions> begin(rd_kafka_t* client, const std::string& topic, bool resume) {
  MR_TRY(auto metadata, kafka_metadata(client, topic));
  const int count = metadata->topics[0].partition_cnt;
  KafkaPartitions list(rd_kafka_topic_partition_list_new(count));
  for (int p = 0; p < count; ++p) rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), p);
  if (resume) {
    if (auto code = rd_kafka_committed(client, list.get(), kKafkaTimeoutMs)) {
      return kafka_error(code, "asking how far the last replay came");
    }
  }
  for (int p = 0; p < count; ++p) {
    auto& at = list->elems[p];
    if (!resume || at.offset < 0) at.offset = RD_KAFKA_OFFSET_BEGINNING;
  }
  return list;
}

/// Calls `each` for every letter that is wanted, to the end that the topic has now. What is reached
/// ends before the first letter that was passed over: the next replay sees it again.
using Each = std::function<Result<>(const rd_kafka_message_t*, const Letter&)>;
Result<Reached> read(const DeadLetterArguments& arguments, const std::string& address, bool resume,
                     const Each& each) {
  const auto topic = broker::dead_letter_topic(arguments.topic);
  Reached reached;
  MR_TRY(reached.client, kafka_connect(RD_KAFKA_CONSUMER, address,
                                       {{"group.id", kGroup},
                                        {"enable.auto.commit", "false"},
                                        {"enable.partition.eof", "true"},
                                        {"isolation.level", "read_committed"}}));
  auto* client = reached.client.get();
  MR_TRY(auto list, begin(client, topic, resume));
  const int count = list->cnt;
  reached.offsets.reset(rd_kafka_topic_partition_list_new(count));
  if (auto code = rd_kafka_assign(client, list.get())) return kafka_error(code, "reading " + topic);
  std::set<int32_t> passed_over;
  for (int ended = 0; ended < count;) {
    KafkaMessage message(rd_kafka_consumer_poll(client, kKafkaTimeoutMs));
    if (!message) return Error{ErrorCode::kConnectionClosed, "the node did not answer in time"};
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      ++ended;
      continue;
    }
    if (message->err) return kafka_error(message->err, "reading " + topic);
    const auto letter = open(message.get());
    if (!letter.reason.contains(arguments.reason)) {
      passed_over.insert(message->partition);
      continue;
    }
    MR_TRY(each(message.get(), letter));
    if (passed_over.contains(message->partition)) continue;
    auto* offsets = reached.offsets.get();
    auto* at = rd_kafka_topic_partition_list_find(offsets, topic.c_str(), message->partition);
    if (!at) at = rd_kafka_topic_partition_list_add(offsets, topic.c_str(), message->partition);
    at->offset = message->offset + 1;
  }
  return reached;
}

Result<> list(const DeadLetterArguments& arguments, const std::string& address) {
  TextTable table({"offset", "reason", "topic", "partition", "at", "value"});
  table.numeric = {true, false, false, true, true, false};
  MR_TRY(read(arguments, address, false,
              [&](const rd_kafka_message_t* message, const Letter& letter) -> Result<> {
                std::optional<std::string> value;
                if (message->payload)
                  value.emplace(static_cast<const char*>(message->payload), message->len);
                table.add({std::to_string(message->offset), letter.reason, letter.topic,
                           letter.partition, letter.offset, value});
                return {};
              }));
  fmt::print("{}", render(table, arguments.output));
  return {};
}

/// Delivery reports of the records that were replayed.
struct Outcome {
  std::map<std::string, int64_t> sent;  // by topic
  rd_kafka_resp_err_t failed = RD_KAFKA_RESP_ERR_NO_ERROR;
  std::string failed_topic;
};

void take_report(rd_kafka_t*, const rd_kafka_message_t* message, void*) {
  auto& outcome = *static_cast<Outcome*>(message->_private);
  const std::string topic = rd_kafka_topic_name(message->rkt);
  if (message->err) {
    outcome.failed = message->err;
    outcome.failed_topic = topic;
  } else {
    ++outcome.sent[topic];
  }
}

Result<> send(rd_kafka_t* producer, const std::string& topic, const rd_kafka_message_t* message,
              const Letter& letter, Outcome& outcome) {
  auto* headers = rd_kafka_headers_new(letter.headers.size());
  for (const auto& header : letter.headers) {
    rd_kafka_header_add(headers, header.name.data(), static_cast<ssize_t>(header.name.size()),
                        header.value ? header.value->data() : nullptr,
                        header.value ? static_cast<ssize_t>(header.value->size()) : 0);
  }
  rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
  do {
    code = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic.c_str()),
                             RD_KAFKA_V_KEY(message->key, message->key_len),
                             RD_KAFKA_V_VALUE(message->payload, message->len),
                             RD_KAFKA_V_TIMESTAMP(std::max<int64_t>(0, letter.timestamp)),
                             RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_HEADERS(headers),
                             RD_KAFKA_V_OPAQUE(&outcome), RD_KAFKA_V_END);
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL) rd_kafka_poll(producer, 100);
  } while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL);
  if (!code) return {};
  rd_kafka_headers_destroy(headers);
  return kafka_error(code, fmt::format("replaying to \"{}\"", topic));
}

Result<> replay(const DeadLetterArguments& arguments, const std::string& address) {
  MR_TRY(auto producer,
         kafka_connect(RD_KAFKA_PRODUCER, address, {{"enable.idempotence", "true"}}, take_report));
  Outcome outcome;
  MR_TRY(auto reached,
         read(arguments, address, !arguments.from_beginning,
              [&](const rd_kafka_message_t* message, const Letter& letter) -> Result<> {
                const auto& to = arguments.to.empty() ? letter.topic : arguments.to;
                if (to.empty()) {
                  return Error{
                      ErrorCode::kInvalidRecord,
                      fmt::format("the letter at offset {} does not say its topic; give --to",
                                  message->offset)};
                }
                return send(producer.get(), to, message, letter, outcome);
              }));
  if (auto code = rd_kafka_flush(producer.get(), 6 * kKafkaTimeoutMs)) {
    return kafka_error(code, "replaying");
  }
  if (outcome.failed) {
    return kafka_error(outcome.failed, fmt::format("replaying to \"{}\"", outcome.failed_topic));
  }
  // What has arrived is not replayed again.
  if (reached.offsets->cnt > 0) {
    if (auto code = rd_kafka_commit(reached.client.get(), reached.offsets.get(), 0)) {
      return kafka_error(code, "remembering how far the replay came");
    }
  }
  TextTable table({"topic", "replayed"});
  table.numeric = {false, true};
  for (const auto& [topic, count] : outcome.sent) table.add({topic, std::to_string(count)});
  fmt::print("{}", render(table, arguments.output));
  return {};
}

}  // namespace

int dead_letter(const DeadLetterArguments& arguments) {
  auto target = resolve(arguments.target);
  if (!target) return fail(target.error());
  auto done = arguments.action == "list" ? list(arguments, target->kafka)
                                         : replay(arguments, target->kafka);
  return done ? kOk : fail(done.error());
}

}  // namespace millrace::app

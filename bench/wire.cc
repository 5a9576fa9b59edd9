// A native Kafka client that measures: one mode a run, one line of JSON as its result.
//   millrace_wire produce ADDRESS TOPIC RECORDS SIZE [setting=value...]
//   millrace_wire produce_json ADDRESS TOPIC RECORDS [setting=value...]
//   millrace_wire consume ADDRESS TOPIC RECORDS [setting=value...]
//   millrace_wire filter ADDRESS FROM TO RECORDS [setting=value...]
//   millrace_wire latency ADDRESS TOPIC SECONDS RATE SIZE [setting=value...]
//   millrace_wire view ADDRESS TOPIC SECONDS RATE KEYS HTTP_ADDRESS VIEW [setting=value...]
// produce_json: of 100 bytes, every other one an error; filter: an application that reads RECORDS
// of them and writes the errors to TO. latency: records are sent evenly at RATE a second, each with
// the time at which it was due, and read by a consumer of the same process: what is told is due to
// read, so a producer that falls behind does not hide it (coordinated omission). view: records of
// 100 bytes, {"key":…,"sent":…,…}, are sent in the same way; a subscriber of the view, which has
// the largest `sent` of each key, tells how old what it hears of is.
#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "app/kafka_client.h"

namespace {

using Clock = std::chrono::steady_clock;
using millrace::app::KafkaHandle;
using millrace::app::KafkaMessage;
using millrace::app::KafkaPartitions;
using millrace::app::KafkaQueue;
using millrace::app::KafkaTopic;

[[noreturn]] void stop(const std::string& why) {
  fmt::print(stderr, "millrace_wire: {}\n", why);
  std::exit(1);
}

int64_t now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch())
      .count();
}

std::atomic<int64_t> acked = 0;
std::atomic<int64_t> failed = 0;

void on_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void*) {
  ++(message->err ? failed : acked);
}

KafkaHandle connect(rd_kafka_type_t type, const std::string& address,
                    const std::vector<std::string>& settings) {
  auto* conf = rd_kafka_conf_new();
  char text[512];
  const auto set = [&](const std::string& name, const std::string& value) {
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), text, sizeof text)) stop(text);
  };
  set("bootstrap.servers", address);
  if (type == RD_KAFKA_PRODUCER) {
    set("acks", "all");
    set("queue.buffering.max.messages", "1000000");
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  } else {
    set("group.id", "millrace_wire");
    set("enable.auto.commit", "false");
    set("auto.offset.reset", "earliest");
    set("fetch.wait.max.ms", "500");
  }
  for (const auto& setting : settings) {
    const auto equals = setting.find('=');
    const auto name = setting.substr(0, equals);
    const bool of_producer = name.starts_with("linger") || name.starts_with("batch") ||
                             name.starts_with("acks") || name.starts_with("compression") ||
                             name.starts_with("enable.idem") || name.starts_with("queue");
    if (of_producer == (type == RD_KAFKA_PRODUCER)) set(name, setting.substr(equals + 1));
  }
  KafkaHandle client(rd_kafka_new(type, conf, text, sizeof text));
  if (!client) stop(text);
  return client;
}

void send(rd_kafka_t* client, rd_kafka_topic_t* topic, std::string& bytes) {
  while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, bytes.data(),
                          bytes.size(), nullptr, 0, nullptr)) {
    if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
      stop(rd_kafka_err2str(rd_kafka_last_error()));
    }
    rd_kafka_poll(client, 10);
  }
}

std::string payload(size_t size) {
  std::string bytes(size, ' ');
  uint32_t state = 1;
  for (auto& c : bytes) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>('A' + (state >> 24) % 26);
  }
  return bytes;
}

/// Sends `texts` in turn.
void produce(const std::string& address, const std::string& name, int64_t records,
             std::vector<std::string> texts, const std::vector<std::string>& settings) {
  auto client = connect(RD_KAFKA_PRODUCER, address, settings);
  KafkaTopic topic(rd_kafka_topic_new(client.get(), name.c_str(), nullptr));
  const auto size = texts[0].size();
  const auto began = Clock::now();
  for (int64_t i = 0; i < records; ++i) {
    send(client.get(), topic.get(), texts[static_cast<size_t>(i) % texts.size()]);
    if (i % 1024 == 0) rd_kafka_poll(client.get(), 0);
  }
  if (rd_kafka_flush(client.get(), 300'000) || failed > 0) stop("not all were acknowledged");
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
  fmt::print("{{\"records\": {}, \"seconds\": {:.4f}, \"records_s\": {:.0f}, \"mb_s\": {:.1f}}}\n",
             acked.load(), seconds, static_cast<double>(records) / seconds,
             static_cast<double>(records) * static_cast<double>(size) / seconds / 1e6);
}

/// A consumer of every partition from `offset` on.
KafkaHandle consumer(const std::string& address, const std::string& name, int64_t offset,
                     const std::vector<std::string>& settings) {
  auto client = connect(RD_KAFKA_CONSUMER, address, settings);
  KafkaTopic topic(rd_kafka_topic_new(client.get(), name.c_str(), nullptr));
  const struct rd_kafka_metadata* metadata = nullptr;
  if (rd_kafka_metadata(client.get(), 0, topic.get(), &metadata, 10'000)) stop("no metadata");
  const int count = metadata->topics[0].partition_cnt;
  rd_kafka_metadata_destroy(metadata);
  KafkaPartitions list(rd_kafka_topic_partition_list_new(count));
  for (int p = 0; p < count; ++p) {
    rd_kafka_topic_partition_list_add(list.get(), name.c_str(), p)->offset = offset;
  }
  if (rd_kafka_assign(client.get(), list.get())) stop("cannot assign");
  rd_kafka_poll_set_consumer(client.get());
  return client;
}

/// Reads until `records` came or `until`; `each` sees every message. At most `at_once` are waited
/// for together: librdkafka gives a batch when it is full, or after the timeout.
int64_t read(rd_kafka_t* client, int64_t records, size_t at_once, Clock::time_point until,
             auto each) {
  KafkaQueue queue(rd_kafka_queue_get_consumer(client));
  std::vector<rd_kafka_message_t*> batch(at_once);
  int64_t count = 0;
  while (count < records && Clock::now() < until) {
    const auto got = rd_kafka_consume_batch_queue(queue.get(), 100, batch.data(), batch.size());
    for (ssize_t i = 0; i < got; ++i) {
      const KafkaMessage message(batch[static_cast<size_t>(i)]);
      if (message->err) stop(rd_kafka_err2str(message->err));
      each(*message);
      ++count;
    }
  }
  return count;
}

void consume(const std::string& address, const std::string& name, int64_t records,
             const std::vector<std::string>& settings) {
  const auto began = Clock::now();
  auto client = consumer(address, name, RD_KAFKA_OFFSET_BEGINNING, settings);
  size_t bytes = 0;
  const auto count = read(client.get(), records, 1024, began + std::chrono::minutes(5),
                          [&](const rd_kafka_message_t& message) { bytes += message.len; });
  if (count < records) stop(fmt::format("only {} of {} records came", count, records));
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
  fmt::print("{{\"records\": {}, \"seconds\": {:.4f}, \"records_s\": {:.0f}, \"mb_s\": {:.1f}}}\n",
             count, seconds, static_cast<double>(count) / seconds,
             static_cast<double>(bytes) / seconds / 1e6);
}

constexpr std::string_view kError = R"("level":"error")";

std::vector<std::string> json_texts() {
  std::vector<std::string> texts;
  for (const std::string_view level : {"error", "debug"}) {
    texts.push_back(fmt::format(
        R"({{"id":{},"host":"node-17.example","level":"{}","latency_ms":12.5,"text":"{:a<15}"}})",
        1234567, level, ""));
    texts.back().resize(100, ' ');
  }
  return texts;
}

void filter(const std::string& address, const std::string& from, const std::string& to,
            int64_t records, const std::vector<std::string>& settings) {
  const auto began = Clock::now();
  auto reader = consumer(address, from, RD_KAFKA_OFFSET_BEGINNING, settings);
  auto writer = connect(RD_KAFKA_PRODUCER, address, settings);
  KafkaTopic topic(rd_kafka_topic_new(writer.get(), to.c_str(), nullptr));
  std::string kept;
  int64_t seen = 0;
  const auto each = [&](const rd_kafka_message_t& message) {
    const std::string_view text(static_cast<const char*>(message.payload), message.len);
    if (++seen % 1024 == 0) rd_kafka_poll(writer.get(), 0);
    if (text.find(kError) == text.npos) return;
    kept = text;
    send(writer.get(), topic.get(), kept);
  };
  const auto count = read(reader.get(), records, 1024, began + std::chrono::minutes(5), each);
  if (count < records) stop(fmt::format("only {} of {} records came", count, records));
  if (rd_kafka_flush(writer.get(), 300'000) || failed > 0) stop("not all were acknowledged");
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
  fmt::print("{{\"records\": {}, \"seconds\": {:.4f}, \"records_s\": {:.0f}}}\n", count, seconds,
             static_cast<double>(count) / seconds);
}

double percentile(const std::vector<int64_t>& sorted, double p) {
  const auto at = static_cast<size_t>(p / 100 * static_cast<double>(sorted.size() - 1));
  return static_cast<double>(sorted[at]) / 1000;
}

/// Sends what `make` gives for each record and the time at which it is due, evenly.
void pace(rd_kafka_t* client, const std::string& name, double rate, int64_t records, auto make) {
  KafkaTopic topic(rd_kafka_topic_new(client, name.c_str(), nullptr));
  const int64_t began = now_us();
  for (int64_t i = 0; i < records; ++i) {
    const int64_t due = began + static_cast<int64_t>(static_cast<double>(i) * 1e6 / rate);
    if (const int64_t early = due - now_us(); early > 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(early));
    }
    send(client, topic.get(), make(i, due));
    rd_kafka_poll(client, 0);
  }
  if (rd_kafka_flush(client, 60'000) || failed > 0) stop("not all were acknowledged");
}

void latency(const std::string& address, const std::string& name, double seconds, double rate,
             size_t size, const std::vector<std::string>& settings) {
  auto reader = consumer(address, name, RD_KAFKA_OFFSET_END, settings);
  std::this_thread::sleep_for(std::chrono::seconds(1));  // its first fetch waits at the end
  const auto records = static_cast<int64_t>(seconds * rate);
  // The first fifth warms up.
  const int64_t warm = records / 5;
  const auto began = Clock::now();
  std::thread writer([&] {
    auto client = connect(RD_KAFKA_PRODUCER, address, settings);
    auto bytes = payload(std::max<size_t>(size, 16));
    pace(client.get(), name, rate, records, [&](int64_t i, int64_t due) -> std::string& {
      std::memcpy(bytes.data(), &due, sizeof due);
      std::memcpy(bytes.data() + sizeof due, &i, sizeof i);
      return bytes;
    });
  });
  std::vector<int64_t> late;
  late.reserve(static_cast<size_t>(records));
  const auto until = Clock::now() + std::chrono::seconds(static_cast<int64_t>(seconds) + 60);
  const auto count = read(reader.get(), records, 1, until, [&](const rd_kafka_message_t& message) {
    int64_t due = 0, i = 0;
    std::memcpy(&due, message.payload, sizeof due);
    std::memcpy(&i, static_cast<const char*>(message.payload) + sizeof due, sizeof i);
    if (i >= warm) late.push_back(now_us() - due);
  });
  const double took = std::chrono::duration<double>(Clock::now() - began).count();
  writer.join();
  if (count < records) stop(fmt::format("only {} of {} records came", count, records));
  std::ranges::sort(late);
  fmt::print(
      "{{\"records\": {}, \"records_s\": {:.0f}, \"p50_ms\": {:.3f}, \"p99_ms\": {:.3f}, "
      "\"p999_ms\": {:.3f}, \"max_ms\": {:.3f}}}\n",
      count, static_cast<double>(count) / took, percentile(late, 50), percentile(late, 99),
      percentile(late, 99.9), percentile(late, 100));
}

/// The body of an endless answer, as Server-Sent Events.
class EventStream {
 public:
  EventStream(const std::string& address, const std::string& path) {
    const auto colon = address.rfind(':');
    addrinfo* found = nullptr;
    if (getaddrinfo(address.substr(0, colon).c_str(), address.substr(colon + 1).c_str(), nullptr,
                    &found)) {
      stop("no such address: " + address);
    }
    socket_ = socket(found->ai_family, SOCK_STREAM, 0);
    if (connect(socket_, found->ai_addr, found->ai_addrlen)) stop("cannot connect to " + address);
    freeaddrinfo(found);
    const auto request = fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", path, address);
    if (write(socket_, request.data(), request.size()) < 0) stop("cannot ask");
    while (body_.find("\r\n\r\n") == std::string::npos) more();
    if (!body_.starts_with("HTTP/1.1 200")) stop(body_);
    body_.erase(0, body_.find("\r\n\r\n") + 4);
  }
  ~EventStream() { close(socket_); }
  EventStream(const EventStream&) = delete;
  EventStream& operator=(const EventStream&) = delete;

  /// The next line, once it has come.
  std::string line() {
    for (;;) {
      if (const auto end = body_.find('\n', at_); end != std::string::npos) {
        auto line = body_.substr(at_, end - at_);
        at_ = end + 1;
        return line;
      }
      body_.erase(0, std::exchange(at_, 0));
      more();
    }
  }

 private:
  void more() {
    char bytes[1 << 16];
    const auto got = recv(socket_, bytes, sizeof bytes, 0);
    if (got <= 0) stop("the subscription has ended");
    body_.append(bytes, static_cast<size_t>(got));
  }

  int socket_;
  std::string body_;
  size_t at_ = 0;
};

struct ViewRun {
  std::string address, topic, http, view;
  double seconds, rate;
  int64_t keys;
};

void view(const ViewRun& run, const std::vector<std::string>& settings) {
  EventStream events(run.http, "/v1/subscribe?view=" + run.view);
  const auto records = static_cast<int64_t>(run.seconds * run.rate);
  std::atomic<int64_t> warm_until = 0, last_due = 0;
  std::thread writer([&] {
    auto client = connect(RD_KAFKA_PRODUCER, run.address, settings);
    std::string bytes;
    pace(client.get(), run.topic, run.rate, records, [&](int64_t i, int64_t due) -> std::string& {
      if (i == records / 5) warm_until = due;
      bytes = fmt::format("{{\"key\":{},\"sent\":{},\"note\":\"", i * 7919 % run.keys, due);
      bytes.append(98 - std::min<size_t>(bytes.size(), 90), 'x').append("\"}");
      if (i == records - 1) last_due = due;
      return bytes;
    });
  });
  std::vector<int64_t> late;
  size_t epochs = 0;
  for (int64_t latest = 0; latest == 0 || latest != last_due; ++epochs) {
    const auto line = events.line();
    const auto now = now_us();
    constexpr std::string_view kCame = R"("weight":1,)", kSent = R"("sent":)";
    for (auto at = line.find(kCame); at != std::string::npos; at = line.find(kCame, at)) {
      at = line.find(kSent, at) + kSent.size();
      const auto sent = std::strtoll(line.c_str() + at, nullptr, 10);
      latest = std::max<int64_t>(latest, sent);
      if (warm_until > 0 && sent >= warm_until) late.push_back(now - sent);
    }
  }
  writer.join();
  std::ranges::sort(late);
  fmt::print(
      "{{\"records\": {}, \"changes\": {}, \"messages\": {}, \"p50_ms\": {:.3f}, "
      "\"p99_ms\": {:.3f}, \"p999_ms\": {:.3f}, \"max_ms\": {:.3f}}}\n",
      records, late.size(), epochs / 3, percentile(late, 50), percentile(late, 99),
      percentile(late, 99.9), percentile(late, 100));
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const auto rest = [&](size_t from) {
    return std::vector<std::string>(words.begin() + static_cast<ptrdiff_t>(from), words.end());
  };
  if (words.size() >= 5 && words[0] == "produce") {
    produce(words[1], words[2], std::stoll(words[3]), {payload(std::stoull(words[4]))}, rest(5));
  } else if (words.size() >= 4 && words[0] == "produce_json") {
    produce(words[1], words[2], std::stoll(words[3]), json_texts(), rest(4));
  } else if (words.size() >= 5 && words[0] == "filter") {
    filter(words[1], words[2], words[3], std::stoll(words[4]), rest(5));
  } else if (words.size() >= 4 && words[0] == "consume") {
    consume(words[1], words[2], std::stoll(words[3]), rest(4));
  } else if (words.size() >= 6 && words[0] == "latency") {
    latency(words[1], words[2], std::stod(words[3]), std::stod(words[4]), std::stoull(words[5]),
            rest(6));
  } else if (words.size() >= 8 && words[0] == "view") {
    view({words[1], words[2], words[6], words[7], std::stod(words[3]), std::stod(words[4]),
          std::stoll(words[5])},
         rest(8));
  } else {
    stop("produce|produce_json|consume|filter|latency|view ADDRESS TOPIC … (see bench/wire.cc)");
  }
}

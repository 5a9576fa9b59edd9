// A producer whose work was done before: it sends the same encoded Produce request again and again,
// so that what is measured is the broker and not a client that shares its cores.
//   millrace_replay ADDRESS TOPIC RECORDS SIZE BATCH_BYTES
// Each request holds one batch for partition 0, of as many records of SIZE bytes as a client with a
// batch size of BATCH_BYTES puts in it (librdkafka's default is 1000000 and at most 10,000 records,
// the Java client's 16384); five requests are under way on one connection (max.in.flight of the
// Java client), acks=all. Prints one line of JSON.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>

#include "kafka/detail/header.h"
#include "kafka/messages.h"
#include "log/record_batch.h"

namespace {

using namespace millrace;
using Clock = std::chrono::steady_clock;

constexpr int16_t kVersion = 11;
constexpr int64_t kUnderWay = 5;
constexpr size_t kBatchRecordsMax = 10'000;

[[noreturn]] void stop(const std::string& why) {
  fmt::print(stderr, "millrace_replay: {}\n", why);
  std::exit(1);
}

class Connection {
 public:
  explicit Connection(const std::string& address) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    const auto colon = address.rfind(':');
    const auto host = address.substr(0, colon);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
    if (inet_pton(AF_INET, host == "localhost" ? "127.0.0.1" : host.c_str(), &to.sin_addr) != 1 ||
        connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof to)) {
      stop("cannot connect to " + address);
    }
    const int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  ~Connection() { close(socket_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) stop("the broker closed the connection");
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }
  /// The next frame, without its length.
  std::string receive() {
    const auto head = exactly(4);
    kafka::Reader in(head);
    return exactly(static_cast<size_t>(in.int32()));
  }

 private:
  std::string exactly(size_t count) {
    std::string bytes(count, '\0');
    for (size_t have = 0; have < count;) {
      const auto got = recv(socket_, bytes.data() + have, count - have, 0);
      if (got <= 0) stop("the broker closed the connection");
      have += static_cast<size_t>(got);
    }
    return bytes;
  }

  int socket_;
};

struct Request {
  std::string bytes;
  int64_t records = 0;
};

Request make_request(const std::string& topic, size_t size, size_t batch_bytes) {
  log::BatchBuilder batch;
  std::string value(size, ' ');
  uint32_t state = 1;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  while (batch.count() < kBatchRecordsMax &&
         (batch.count() == 0 || batch.bytes() + size < batch_bytes)) {
    for (auto& c : value)
      c = static_cast<char>('A' + ((state = state * 1664525 + 1013904223) >> 24) % 26);
    batch.add(now_ms, std::nullopt, value);
  }
  Request request;
  request.records = static_cast<int64_t>(batch.count());
  const auto records = batch.finish();
  kafka::ProduceRequest produce;
  produce.acks = -1;
  produce.timeout_ms = 30'000;
  auto& data = produce.topic_data.emplace_back();
  data.name = topic;
  auto& part = data.partition_data.emplace_back();
  part.records.emplace().owned = records;
  kafka::Writer out;
  out.int16(kafka::ProduceRequest::kApiKey);
  out.int16(kVersion);
  out.int32(0);
  out.string(std::string_view("replay"), false);
  out.varint(0);
  produce.write(out, kVersion);
  request.bytes = out.finish(true)->to_string();
  return request;
}

void expect_success(const std::string& frame) {
  kafka::Reader in(frame);
  in.int32();
  in.skip_tags();
  kafka::ProduceResponse response;
  response.read(in, kVersion);
  if (!in.ok()) stop(in.error().text);
  for (const auto& topic : response.responses) {
    for (const auto& part : topic.partition_responses) {
      if (part.error_code != 0) stop(fmt::format("error {} from the broker", part.error_code));
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) stop("usage: ADDRESS TOPIC RECORDS SIZE BATCH_BYTES");
  const auto request = make_request(argv[2], std::stoull(argv[4]), std::stoull(argv[5]));
  const int64_t requests = std::max<int64_t>(1, std::stoll(argv[3]) / request.records);
  Connection connection(argv[1]);
  const auto began = Clock::now();
  int64_t answered = 0;
  for (int64_t sent = 0; answered < requests;) {
    for (; sent < requests && sent - answered < kUnderWay; ++sent) connection.send(request.bytes);
    expect_success(connection.receive());
    ++answered;
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
  const auto records = static_cast<double>(requests * request.records);
  fmt::print(
      R"({{"records": {}, "batch_records": {}, "seconds": {:.4f}, "records_s": {:.0f}, "mb_s": {:.1f}}})"
      "\n",
      requests * request.records, request.records, seconds, records / seconds,
      records * std::stod(argv[4]) / seconds / 1e6);
}

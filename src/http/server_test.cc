#include "http/server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

namespace millrace::http {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

/// A blocking client of one connection.
class Client {
 public:
  explicit Client(const std::string& address) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  }
  ~Client() { ::close(fd_); }

  void send(std::string_view bytes) {
    EXPECT_EQ(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  /// All until the server closes.
  std::string rest() {
    std::string all;
    char buffer[4096];
    ssize_t n = 0;
    while ((n = recv(fd_, buffer, sizeof buffer, 0)) > 0)
      all.append(buffer, static_cast<size_t>(n));
    return all;
  }
  /// Up to and with `end`.
  std::string until(std::string_view end) {
    std::string all;
    char byte = 0;
    while (!all.ends_with(end) && recv(fd_, &byte, 1, 0) == 1) all += byte;
    return all;
  }
  std::string ask(std::string_view line) {
    send(std::string(line) + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    return rest();
  }

 private:
  int fd_;
};

/// Gives what a test puts there.
class FakeView {
 public:
  void put(Result<sql::Changes> changes) {
    std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(changes));
    for (auto& [reader, wake] : wakes_)
      if (wake) wake();
  }
  std::unique_ptr<sql::Subscription> subscribe() { return std::make_unique<Reader>(*this); }
  std::atomic<int> open = 0, reads = 0;

 private:
  struct Reader : sql::Subscription {
    explicit Reader(FakeView& v) : view(v) { ++view.open; }
    ~Reader() override {
      on_changes(nullptr);
      --view.open;
    }
    Result<std::optional<sql::Changes>> next() override {
      std::lock_guard lock(view.mutex_);
      ++view.reads;
      if (at == view.waiting_.size()) return std::optional<sql::Changes>();
      const auto& changes = view.waiting_[at++];
      if (!changes) return changes.error();
      return std::optional(*changes);
    }
    void on_changes(std::function<void()> wake) override {
      std::lock_guard lock(view.mutex_);
      view.wakes_[this] = std::move(wake);
    }
    FakeView& view;
    size_t at = 0;
  };
  std::mutex mutex_;
  std::vector<Result<sql::Changes>> waiting_;
  std::map<Reader*, std::function<void()>> wakes_;
};

void eventually(const std::function<bool()>& holds) {
  while (!holds()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

class HttpServer : public testing::Test {
 protected:
  void SetUp() override {
    Server::Options options;
    options.health = [this] { return health; };
    options.subscribe =
        [this](const std::string& name,
               const sql::SubscribeOptions& how) -> Result<std::unique_ptr<sql::Subscription>> {
      if (name != "v") return Error{ErrorCode::kUndefinedObject, "no \"" + name + "\""};
      asked = fmt::format("{} {}", how.snapshot, how.token);
      return view.subscribe();
    };
    options.ingest = [this](const std::string& source, std::string_view body) -> Result<uint64_t> {
      if (source != "s") return Error{ErrorCode::kUndefinedObject, "no \"" + source + "\""};
      taken_in += body;
      return uint64_t{1};
    };
    auto listening = Server::listen(runtime, *env, "127.0.0.1:0", options);
    ASSERT_TRUE(listening) << listening.error().text;
    server = std::move(*listening);
  }
  void TearDown() override {
    runtime.shard(0).block_on(server->close(std::chrono::milliseconds(100)));
  }
  std::string ask(std::string_view line) { return Client(server->address()).ask(line); }

  io::Runtime runtime{2, 2};
  std::unique_ptr<io::Env> env = io::make_real_env();
  Result<> health;
  FakeView view;
  std::string asked;
  std::string taken_in;
  std::unique_ptr<Server> server;
};

TEST_F(HttpServer, GivesMetrics) {
  env->metrics().counter("millrace_test_things_total", "Things").add(3);
  EXPECT_THAT(ask("GET /metrics"),
              AllOf(StartsWith("HTTP/1.1 200 OK"), HasSubstr("text/plain; version=0.0.4"),
                    HasSubstr("millrace_test_things_total 3")));
  EXPECT_THAT(ask("HEAD /metrics"), EndsWith("\r\n\r\n"));
}

TEST_F(HttpServer, TellsItsHealth) {
  EXPECT_THAT(ask("GET /healthz?x=1"), AllOf(StartsWith("HTTP/1.1 200"), EndsWith("ok\n")));
  health = Error{ErrorCode::kDiskFull, "no room on the disk"};
  EXPECT_THAT(ask("GET /healthz"),
              AllOf(StartsWith("HTTP/1.1 503"), EndsWith("no room on the disk\n")));
}

TEST_F(HttpServer, RefusesOtherPathsAndMethods) {
  EXPECT_THAT(ask("GET /nope"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(ask("POST /metrics"), AllOf(StartsWith("HTTP/1.1 405"), HasSubstr("Allow: GET")));
}

TEST_F(HttpServer, TakesNothingThatAPageOfAnotherOriginPosts) {
  for (const auto path : {"/v1/sources/s", "/v1/functions/f"}) {
    Client client(server->address());
    client.send(
        fmt::format("POST {} HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n"
                    "Connection: close\r\nContent-Length: 5\r\n\r\n[1,2]",
                    path));
    EXPECT_THAT(client.rest(), AllOf(StartsWith("HTTP/1.1 403"), HasSubstr("another origin")));
  }
  EXPECT_EQ(taken_in, "");
}

TEST_F(HttpServer, GivesWhatIsPostedToItsSource) {
  const auto post = [this](std::string_view name) {
    Client client(server->address());
    client.send(fmt::format(
        "POST /v1/sources/{} HTTP/1.1\r\nConnection: close\r\nContent-Length: 5\r\n\r\n[1,2]",
        name));
    return client.rest();
  };
  EXPECT_THAT(post("s"), AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("{\"records\":1}")));
  EXPECT_EQ(taken_in, "[1,2]");
  EXPECT_THAT(post("t"), AllOf(StartsWith("HTTP/1.1 404"), HasSubstr("42P01")));
  EXPECT_THAT(ask("GET /v1/sources/s"),
              AllOf(StartsWith("HTTP/1.1 405"), HasSubstr("Allow: POST")));
}

TEST_F(HttpServer, KeepsTheConnectionForMoreRequests) {
  Client client(server->address());
  client.send("GET /healthz HTTP/1.1\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n");
  client.send("GET /nope HTTP/1.1\r\nConnection: close\r\n\r\n");
  std::string all = client.rest();
  size_t answers = 0;
  for (size_t at = all.find("HTTP/1.1"); at != all.npos; at = all.find("HTTP/1.1", at + 1))
    answers++;
  EXPECT_EQ(answers, 3u);
}

TEST_F(HttpServer, AnswersNonsenseWith400AndCloses) {
  Client client(server->address());
  client.send("\x01\x02\x03\r\n\r\n");
  EXPECT_THAT(client.rest(), StartsWith("HTTP/1.1 400"));
}

TEST_F(HttpServer, HasNoFunctionsWhereNoneAreGiven) {
  EXPECT_THAT(ask("GET /v1/functions"), StartsWith("HTTP/1.1 404"));
}

constexpr std::string_view kSubscribe = "GET /v1/subscribe?view=v&snapshot=true";

TEST_F(HttpServer, SendsChangesAsEventsUntilTheViewEnds) {
  Client client(server->address());
  client.send(std::string(kSubscribe) + " HTTP/1.1\r\nLast-Event-ID: t0\r\n\r\n");
  EXPECT_THAT(client.until("\r\n\r\n"), AllOf(StartsWith("HTTP/1.1 200 OK\r\n"),
                                              HasSubstr("Content-Type: text/event-stream\r\n")));
  EXPECT_EQ(client.until("\n\n"), "retry: 1000\n\n");
  EXPECT_EQ(asked, "true t0");
  view.put(sql::Changes{.epoch = 7, .snapshot = true, .rows = {{1, R"({"a":1})"}}, .token = ""});
  EXPECT_EQ(
      client.until("\n\n"),
      "data: {\"epoch\":7,\"snapshot\":true,\"rows\":[{\"weight\":1,\"row\":{\"a\":1}}]}\n\n");
  view.put(sql::Changes{
      .epoch = 8, .reset = true, .rows = {{-1, R"({"a":1})"}, {2, R"({"a":2})"}}, .token = "t8"});
  EXPECT_EQ(
      client.until("\n\n"),
      "id: t8\ndata: {\"epoch\":8,\"token\":\"t8\",\"reset\":true,\"rows\":[{\"weight\":-1,\"row\":"
      "{\"a\":1}},{\"weight\":2,\"row\":{\"a\":2}}]}\n\n");
  view.put(Error{ErrorCode::kUndefinedObject, "view v was \"dropped\"", std::nullopt, "Hint."});
  EXPECT_EQ(client.rest(),
            "event: end\ndata: {\"error\":{\"code\":\"42P01\",\"message\":\"view v was "
            "\\\"dropped\\\"\",\"hint\":\"Hint.\"}}\n\n");
  eventually([&] { return view.open == 0; });
}

TEST_F(HttpServer, RefusesASubscriptionThatCannotBe) {
  EXPECT_THAT(ask("GET /v1/subscribe?view=w"),
              AllOf(StartsWith("HTTP/1.1 404"), EndsWith(R"("message":"no \"w\""}})"
                                                         "\n")));
  EXPECT_THAT(ask("GET /v1/subscribe"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(ask("POST /v1/subscribe?view=v"), StartsWith("HTTP/1.1 405"));
}

TEST_F(HttpServer, SpeaksWebSocket) {
  Client client(server->address());
  const std::string head =
      " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: "
      "13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
  // A ping comes with the request.
  client.send(std::string(kSubscribe) + head + std::string("\x89\x82\0\0\0\0hi", 8));
  EXPECT_THAT(client.until("\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 101 "),
                    HasSubstr("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")));
  EXPECT_EQ(client.until("hi"), "\x8a\x02hi");
  view.put(sql::Changes{.epoch = 7, .rows = {{1, R"({"a":1})"}}, .token = "t"});
  EXPECT_EQ(client.until("]}").substr(2),
            R"({"epoch":7,"token":"t","rows":[{"weight":1,"row":{"a":1}}]})");
  client.send(std::string("\x88\x82\0\0\0\0\x03\xe8", 8));  // close, 1000
  EXPECT_EQ(client.rest(), "\x88\x02\x03\xe8");
  eventually([&] { return view.open == 0; });
}

TEST_F(HttpServer, SubscriptionsHoldNoThreadsAndEndWithTheirClients) {
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 8; i++) {  // four times the pool's threads
    clients.push_back(std::make_unique<Client>(server->address()));
    clients[i]->send(std::string(kSubscribe) + " HTTP/1.1\r\n\r\n");
  }
  eventually([&] { return view.open == 8; });
  EXPECT_THAT(ask("GET /metrics"), HasSubstr("millrace_http_subscriptions 8"));
  clients.resize(3);
  eventually([&] { return view.open == 3; });
}

TEST_F(HttpServer, ASubscriberThatDoesNotReadIsHeldBackByItsSocket) {
  auto client = std::make_unique<Client>(server->address());
  const std::string row = "\"" + std::string(50'000, 'x') + "\"";
  for (int i = 0; i < 2000; i++)
    view.put(sql::Changes{.epoch = 7, .rows = {{1, row}}, .token = "t"});
  client->send(std::string(kSubscribe) + " HTTP/1.1\r\n\r\n");
  int before = -1;
  while (view.reads != before) {
    before = view.reads;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  EXPECT_GT(before, 0);
  EXPECT_LT(before, 1500);
  client.reset();
  eventually([&] { return view.open == 0; });
}

TEST_F(HttpServer, TellsWebSocketsThatTheNodeStops) {
  Client client(server->address());
  client.send(std::string(kSubscribe) +
              " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-"
              "Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  client.until("\r\n\r\n");
  runtime.shard(0).block_on(server->close(std::chrono::seconds(60)));
  EXPECT_EQ(client.rest().substr(0, 4), "\x88\x16\x03\xe9");
  EXPECT_EQ(view.open, 0);
}

}  // namespace
}  // namespace millrace::http

#include "http/server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

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
  std::string ask(std::string_view line) {
    send(std::string(line) + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    return rest();
  }

 private:
  int fd_;
};

class HttpServer : public testing::Test {
 protected:
  void SetUp() override {
    Server::Options options;
    options.health = [this] { return health; };
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

}  // namespace
}  // namespace millrace::http

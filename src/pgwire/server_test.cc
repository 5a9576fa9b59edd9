#include "pgwire/server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <thread>

#include "pgwire/detail/test_client.h"

namespace millrace::pgwire {
namespace {

using detail::told;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;
namespace say = detail::say;

/// A blocking client over a socket.
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
  /// Up to a ReadyForQuery, or the end of the stream.
  std::string read() {
    std::string all;
    char buffer[65536];
    while (!(all.size() >= 6 && all.substr(all.size() - 6, 5) == std::string("Z\0\0\0\5", 5))) {
      ssize_t n = recv(fd_, buffer, sizeof buffer, 0);
      if (n <= 0) break;
      all.append(buffer, static_cast<size_t>(n));
    }
    return all;
  }
  std::string ask(std::string_view bytes) {
    send(bytes);
    return told(read());
  }

 private:
  int fd_;
};

class PgServer : public testing::Test {
 protected:
  void SetUp() override {
    auto listening = Server::listen(runtime, *env, engine, "127.0.0.1:0");
    ASSERT_TRUE(listening) << listening.error().text;
    server = std::move(*listening);
  }
  void TearDown() override { close(std::chrono::milliseconds(100)); }
  void close(std::chrono::milliseconds grace) {
    if (server) runtime.shard(0).block_on(server->close(grace));
    server.reset();
  }

  io::Runtime runtime{2, 4};
  std::unique_ptr<io::Env> env = io::make_real_env();
  detail::FakeEngine engine;
  std::unique_ptr<Server> server;
};

const std::string kEndless =
    "SELECT count(*) FROM range(100000) a, range(100000) b, range(1000) c "
    "WHERE a.range + b.range = c.range - 7";

TEST_F(PgServer, ServesSeveralClients) {
  Client one(server->address()), two(server->address());
  EXPECT_THAT(one.ask(say::startup()), EndsWith("Z(I)"));
  EXPECT_THAT(two.ask(say::startup()), EndsWith("Z(I)"));
  EXPECT_EQ(one.ask(say::query("BEGIN")), "C(BEGIN) Z(T)");
  EXPECT_EQ(two.ask(say::query("SELECT 1 AS a")), "T(a:23) D(1) C(SELECT 1) Z(I)");
  EXPECT_THAT(env->metrics().render(), AllOf(HasSubstr("millrace_pgwire_connections 2"),
                                             HasSubstr("millrace_pgwire_statements_total 2")));
}

TEST_F(PgServer, StreamsALargeResult) {
  Client client(server->address());
  client.ask(say::startup());
  client.send(say::query("SELECT repeat('x', 1000) AS a FROM range(20000)"));
  std::string bytes = client.read();
  EXPECT_GT(bytes.size(), 20'000'000u);
  EXPECT_TRUE(bytes.ends_with(std::string("C\0\0\0\x11SELECT 20000\0Z\0\0\0\5I", 24)));
}

TEST_F(PgServer, CancelsWhatRuns) {
  Client client(server->address());
  client.send(say::startup());
  std::string hello = client.read();
  std::string key = hello.substr(hello.size() - 6 - 8, 8);  // of BackendKeyData, before the last
  client.send(say::query(kEndless));
  std::string answer;
  std::thread reader([&] { answer = told(client.read()); });
  // A request that comes before the statement runs has no effect, as in PostgreSQL: ask again.
  std::atomic<bool> done = false;
  std::thread canceller([&] {
    while (!done) {
      Client other(server->address());
      std::string request;
      detail::put<int32_t>(request, 16);
      detail::put<int32_t>(request, 80877102);
      other.send(request + key);
      other.read();
    }
  });
  reader.join();
  done = true;
  canceller.join();
  EXPECT_THAT(answer, EndsWith("E(57014) Z(I)"));
  EXPECT_EQ(client.ask(say::query("SELECT 1 AS a")), "T(a:23) D(1) C(SELECT 1) Z(I)");
}

TEST_F(PgServer, CancelsWhileEveryPoolThreadIsBusy) {
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<std::string> keys;
  for (int i = 0; i < 4; i++) {
    clients.push_back(std::make_unique<Client>(server->address()));
    clients[i]->send(say::startup());
    std::string hello = clients[i]->read();
    keys.push_back(hello.substr(hello.size() - 6 - 8, 8));
  }
  for (auto& client : clients) client->send(say::query(kEndless));
  std::atomic<int> ended = 0;
  std::vector<std::thread> readers;
  for (auto& client : clients) {
    readers.emplace_back([&ended, at = client.get()] {
      EXPECT_THAT(told(at->read()), EndsWith("E(57014) Z(I)"));
      ended++;
    });
  }
  while (ended < 4) {
    for (const std::string& key : keys) {
      Client other(server->address());
      std::string request;
      detail::put<int32_t>(request, 16);
      detail::put<int32_t>(request, 80877102);
      other.send(request + key);
      other.read();
    }
  }
  for (auto& reader : readers) reader.join();
}

TEST_F(PgServer, IgnoresACancelRequestWithAWrongSecret) {
  Client client(server->address());
  client.ask(say::startup());
  Client other(server->address());
  std::string request;
  for (int32_t word : {16, 80877102, 1, 12345}) detail::put<int32_t>(request, word);
  other.send(request);
  EXPECT_EQ(other.read(), "");
  EXPECT_EQ(client.ask(say::query("SELECT 1 AS a")), "T(a:23) D(1) C(SELECT 1) Z(I)");
}

TEST_F(PgServer, EndsAConnectionThatSpeaksSomethingElse) {
  Client client(server->address());
  EXPECT_EQ(client.ask("GET / HTTP/1.1\r\n\r\n"), "E(08P01)");
  EXPECT_EQ(client.read(), "");
}

TEST_F(PgServer, StopsWhileClientsAreIdleAndWhileAStatementRuns) {
  Client idle(server->address()), busy(server->address());
  idle.ask(say::startup());
  busy.ask(say::startup());
  busy.send(say::query(kEndless));
  close(std::chrono::milliseconds(50));
  EXPECT_EQ(idle.read(), "");
}

std::string key_of(const std::string& hello) { return hello.substr(hello.size() - 6 - 8, 8); }

void eventually(const std::function<bool()>& holds) {
  while (!holds()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

TEST_F(PgServer, SubscriptionsHoldNoThreadsAndEndWithTheirClientsOrWhenCancelled) {
  std::vector<std::unique_ptr<Client>> clients;
  std::string key;
  for (int i = 0; i < 12; i++) {  // three times the pool's threads
    clients.push_back(std::make_unique<Client>(server->address()));
    clients[i]->send(say::startup());
    key = key_of(clients[i]->read());
    clients[i]->send(say::query("SUBSCRIBE TO v"));
  }
  eventually([&] { return engine.feed.open == 12; });
  Client other(server->address());
  other.ask(say::startup());
  EXPECT_EQ(other.ask(say::query("SELECT 1 AS a")), "T(a:23) D(1) C(SELECT 1) Z(I)");
  Client canceller(server->address());
  std::string request;
  detail::put<int32_t>(request, 16);
  detail::put<int32_t>(request, 80877102);
  canceller.send(request + key);
  EXPECT_EQ(told(clients.back()->read()), "T(n:20) E(57014) Z(I)");
  EXPECT_EQ(engine.feed.open, 11);
  clients.resize(5);
  eventually([&] { return engine.feed.open == 5; });
}

TEST_F(PgServer, ASubscriberThatDoesNotReadIsHeldBackByItsSocket) {
  auto client = std::make_unique<Client>(server->address());
  client->ask(say::startup());
  const std::vector<int64_t> many(2000, 1'000'000'000'000);
  for (int i = 0; i < 2000; i++) engine.feed.put(many);  // some 100 MB as messages
  client->send(say::query("SUBSCRIBE TO v"));
  // Once no more is fetched for a while, it waits for the client.
  int before = -1;
  while (engine.feed.fetches != before) {
    before = engine.feed.fetches;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  EXPECT_GT(before, 0);
  EXPECT_LT(before, 1500);
  client.reset();
  eventually([&] { return engine.feed.open == 0; });
}

}  // namespace
}  // namespace millrace::pgwire

#include "base/io/socket.h"

#include <gtest/gtest.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include <future>

#include "base/io/gate.h"

namespace millrace::io {
namespace {

using namespace std::chrono_literals;
using boost::asio::ip::tcp;

/// A plain, blocking client.
class Client {
 public:
  explicit Client(const std::string& address) : socket_(context_) {
    const auto port = static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
    socket_.connect({boost::asio::ip::address_v4::loopback(), port});
  }
  void send(std::string_view bytes) {
    boost::asio::write(socket_, boost::asio::buffer(bytes.data(), bytes.size()));
  }
  /// Bytes until `count` have come or the server has ended the stream.
  std::string receive(size_t count) {
    std::string bytes(count, '\0');
    boost::system::error_code ended;
    bytes.resize(boost::asio::read(socket_, boost::asio::buffer(bytes), ended));
    return bytes;
  }
  void end() { socket_.shutdown(tcp::socket::shutdown_send); }

 private:
  boost::asio::io_context context_;
  tcp::socket socket_;
};

Task<void> echo(Socket socket) {
  EXPECT_TRUE(socket.shard().is_current());
  std::vector<char> buffer(4096);
  for (;;) {
    const auto got = co_await socket.read_some(buffer);
    if (!got || *got == 0) co_return;
    const std::string_view bytes(buffer.data(), *got);
    const std::vector<std::string_view> parts = {"<", bytes, ">"};
    const auto written = co_await socket.write(parts);
    if (!written) co_return;
  }
}

class SocketTest : public testing::Test {
 protected:
  Runtime runtime{2, 0};
  std::unique_ptr<Listener> listener;

  void listen(std::function<Task<void>(Socket)> serve) {
    auto made = Listener::listen(runtime, "127.0.0.1:0");
    ASSERT_TRUE(made) << made.error().text;
    listener = std::move(*made);
    listener->start(std::move(serve));
  }
  void close(std::chrono::milliseconds grace) {
    runtime.shard(0).block_on(listener->close(grace));
    listener.reset();
  }
};

TEST_F(SocketTest, GathersPartsIntoOneWrite) {
  listen(echo);
  for (int i = 0; i < 4; ++i) {
    Client client(listener->address());
    client.send("hello");
    EXPECT_EQ(client.receive(7), "<hello>");
    client.send("again");
    EXPECT_EQ(client.receive(7), "<again>");
  }
  close(0ms);
}

Task<void> send_much(Socket socket) {
  std::vector<std::string> owned(300, std::string(10'000, 'x'));
  std::vector<std::string_view> parts(owned.begin(), owned.end());
  const auto written = co_await socket.write(parts);
  EXPECT_TRUE(written);
}

TEST_F(SocketTest, WritesMoreThanTheKernelTakesAtOnce) {
  listen(send_much);
  Client client(listener->address());
  EXPECT_EQ(client.receive(3'000'000), std::string(3'000'000, 'x'));
  EXPECT_EQ(client.receive(1), "");
  close(0ms);
}

TEST_F(SocketTest, CloseEndsConnectionsThatStay) {
  listen(echo);
  Client first(listener->address());
  Client second(listener->address());
  first.send("a");
  second.send("b");
  EXPECT_EQ(first.receive(3), "<a>");
  EXPECT_EQ(second.receive(3), "<b>");
  close(1ms);
  EXPECT_EQ(first.receive(1), "");
  EXPECT_EQ(second.receive(1), "");
}

TEST_F(SocketTest, CloseWaitsForConnectionsThatEndByThemselves) {
  listen(echo);
  Client client(listener->address());
  client.send("a");
  EXPECT_EQ(client.receive(3), "<a>");
  client.end();
  close(24h);  // returns as soon as the connection has ended
}

Task<void> shut_down_while_reading(Socket socket, std::promise<ErrorCode>& told);

Task<void> end_soon(Shard& shard, Socket& socket) {
  co_await shard.sleep(5ms);
  socket.shutdown();
  socket.shutdown();
}

Task<void> shut_down_while_reading(Socket socket, std::promise<ErrorCode>& told) {
  Gate gate;
  Shard& shard = socket.shard();
  shard.spawn(gate, end_soon(shard, socket));
  std::vector<char> buffer(16);
  const auto got = co_await socket.read_some(buffer);
  co_await gate.close();
  told.set_value(got ? ErrorCode::kInternal : got.error().code);
}

TEST_F(SocketTest, ShutdownEndsAReadUnderWay) {
  std::promise<ErrorCode> told;
  listen([&](Socket socket) { return shut_down_while_reading(std::move(socket), told); });
  Client client(listener->address());
  EXPECT_EQ(told.get_future().get(), ErrorCode::kConnectionClosed);
  close(0ms);
}

TEST_F(SocketTest, SaysThatAnAddressIsInUse) {
  listen(echo);
  const auto second = Listener::listen(runtime, listener->address());
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().text.find("in use"), std::string::npos);
  for (const char* bad : {"", "nowhere", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:9x"}) {
    EXPECT_EQ(Listener::listen(runtime, bad).error().code, ErrorCode::kInvalidArgument) << bad;
  }
  close(0ms);
}

Task<void> send_one(Socket socket, FileRange range, std::promise<Result<>>& outcome) {
  const std::vector<Piece> pieces = {{{}, range}};
  outcome.set_value(co_await socket.write(pieces));
}

/// Sends bytes, a range of a file, bytes, and a range of another file.
Task<void> send_files(Socket socket, FileRange large, FileRange small) {
  const std::vector<Piece> pieces = {{"head", {}},   {{}, large}, {"", {}},
                                     {"middle", {}}, {{}, small}, {"", {}}};
  const auto written = co_await socket.write(pieces);
  EXPECT_TRUE(written) << written.error().text;
}

TEST_F(SocketTest, SendsRangesOfFiles) {
  const auto env = make_real_env();
  const std::string path = testing::TempDir() + "socket_test." + std::to_string(::getpid());
  std::string content(9'000'000, '\0');  // more than the socket takes at once
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 7 + i / 1000);
  ASSERT_TRUE(env->files().replace_file(path, content));
  auto file = env->files().open(path, FileSystem::Mode::kRead);
  ASSERT_TRUE(file);
  const FileRange large{(*file)->share(), 1000, content.size() - 1000};
  const FileRange small{(*file)->share(), 3, 10};
  EXPECT_TRUE(large.file->in_memory(large.position, large.length));
  // What is shared stays readable, whatever becomes of its name.
  file->reset();
  ASSERT_TRUE(env->files().remove(path));
  listen([&](Socket socket) { return send_files(std::move(socket), large, small); });
  Client client(listener->address());
  const auto expected = "head" + content.substr(1000) + "middle" + content.substr(3, 10);
  EXPECT_TRUE(client.receive(expected.size()) == expected);
  EXPECT_EQ(client.receive(1), "");
  close(0ms);
}

TEST_F(SocketTest, EndsWhenAFileIsShorterThanWasSaid) {
  const auto env = make_real_env();
  const std::string path = testing::TempDir() + "socket_short." + std::to_string(::getpid());
  ASSERT_TRUE(env->files().replace_file(path, "0123456789"));
  auto file = env->files().open(path, FileSystem::Mode::kRead);
  ASSERT_TRUE(file);
  const FileRange range{(*file)->share(), 0, 20};
  std::promise<Result<>> outcome;
  listen([&](Socket socket) { return send_one(std::move(socket), range, outcome); });
  Client client(listener->address());
  EXPECT_EQ(client.receive(20), "0123456789");
  EXPECT_EQ(outcome.get_future().get().error().code, ErrorCode::kIo);
  ASSERT_TRUE(env->files().remove(path));
  close(0ms);
}

}  // namespace
}  // namespace millrace::io

#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <deque>
#include <string>

#include "kafka/detail/header.h"
#include "kafka/messages.h"

namespace millrace::kafka {

/// A client of one connection that sends and receives when told to.
class Client final {
 public:
  explicit Client(const std::string& address) {
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.find(':') + 1))));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    timeval patience{60, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  }
  ~Client() { ::close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void send_bytes(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      ASSERT_GT(n, 0);
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  template <typename Request>
  void send(Request request, int16_t version) {
    Writer out;
    out.int16(Request::kApiKey);
    out.int16(version);
    out.int32(next_id_++);
    out.string(std::string_view("test"), false);
    const auto* api = find_api(Request::kApiKey);
    if (version >= api->flexible_min) out.varint(0);
    request.write(out, version);
    send_bytes(out.finish(true)->to_string());
  }
  /// The next frame; empty when the connection has ended.
  std::string receive_frame() {
    const std::string head = receive_bytes(4);
    if (head.size() < 4) return {};
    Reader in(head);
    return receive_bytes(static_cast<size_t>(in.int32()));
  }
  template <typename Response>
  Response receive(int16_t version) {
    frames_.push_back(receive_frame());
    Reader in(frames_.back());
    EXPECT_EQ(in.int32(), expected_id_++);
    const auto* api = find_api(Response::kApiKey);
    if (version >= api->flexible_min && Response::kApiKey != 18) in.skip_tags();
    Response response;
    response.read(in, version);
    EXPECT_TRUE(in.ok()) << in.error().text;
    EXPECT_TRUE(in.rest().empty());
    return response;
  }
  template <typename Response, typename Request>
  Response ask(Request request, int16_t version) {
    send(std::move(request), version);
    return receive<Response>(version);
  }
  void expect_no_answer_to_one() { ++expected_id_; }

 private:
  std::string receive_bytes(size_t count) {
    std::string bytes(count, '\0');
    size_t have = 0;
    while (have < count) {
      const auto n = ::recv(fd_, bytes.data() + have, count - have, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return bytes.substr(0, have);
      have += static_cast<size_t>(n);
    }
    return bytes;
  }
  int fd_ = -1;
  int32_t next_id_ = 1;
  int32_t expected_id_ = 1;
  std::deque<std::string> frames_;  // responses hold views into them
};

}  // namespace millrace::kafka

#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "wasm/module.h"

namespace millrace::client {

inline std::string bytes_of(const std::string& text) { return *wasm::assemble(text); }
/// keep drops 'd', mark makes '#' of the first byte, strict refuses 'b', trap traps at 't'.
inline std::string steps() {
  std::ifstream file(MR_STEPS_WAT);
  return std::string(std::istreambuf_iterator<char>(file), {});
}
/// What answers each request with the same bytes, as a node would; or with none, and waits.
class FakeNode {
 public:
  explicit FakeNode(std::optional<std::string> answer) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    set(std::move(answer));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&at), size), 0);
    EXPECT_EQ(listen(fd_, 16), 0);
    getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
    address_ = "127.0.0.1:" + std::to_string(ntohs(at.sin_port));
    thread_ = std::thread([this] { run(); });
  }
  ~FakeNode() {
    shutdown(fd_, SHUT_RDWR);
    thread_.join();
    for (const int peer : kept_) close(peer);
    close(fd_);
  }
  static std::string ok(const std::string& module) {
    return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(module.size()) + "\r\n\r\n" +
           module;
  }
  void set(std::optional<std::string> answer) {
    std::lock_guard lock(mutex_);
    answer_ = std::move(answer);
  }
  std::string asked() const {
    std::lock_guard lock(mutex_);
    return asked_;
  }
  const std::string& address() const { return address_; }

 private:
  void run() {
    for (int peer = accept(fd_, nullptr, nullptr); peer >= 0;
         peer = accept(fd_, nullptr, nullptr)) {
      std::string request;
      char byte = 0;
      while (!request.ends_with("\r\n\r\n") && recv(peer, &byte, 1, 0) == 1) request += byte;
      std::optional<std::string> answer;
      {
        std::lock_guard lock(mutex_);
        asked_ = request;
        answer = answer_;
      }
      if (!answer) {
        kept_.push_back(peer);
        continue;
      }
      ::send(peer, answer->data(), answer->size(), MSG_NOSIGNAL);
      close(peer);
    }
  }
  const int fd_;
  std::string address_;
  mutable std::mutex mutex_;
  std::optional<std::string> answer_;
  std::string asked_;
  std::vector<int> kept_;  // of the thread, while it runs
  std::thread thread_;
};

}  // namespace millrace::client

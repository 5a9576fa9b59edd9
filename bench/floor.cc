// The least that a broker can do which answers only when the disk has what it was sent: takes the
// requests of bench/replay.cc as they come, writes all that are there in one go, waits for the disk
// (or not), and answers each. No protocol, no check, no offsets, one thread. What it reaches is the
// ceiling of this machine for such a client.
//   millrace_floor sync|direct|none FILE
// Prints the port that it listens on, and serves one connection after the other.
#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "kafka/messages.h"

namespace {

using namespace millrace;

constexpr int16_t kVersion = 11;
constexpr size_t kBlock = 4096;
constexpr size_t kBytesMax = size_t{16} << 20;

[[noreturn]] void stop(const char* what) {
  fmt::print(stderr, "millrace_floor: {}: {}\n", what, std::strerror(errno));
  std::exit(1);
}

std::string answer() {
  kafka::ProduceResponse response;
  response.responses.emplace_back().partition_responses.emplace_back();
  kafka::Writer out;
  out.int32(0);
  out.varint(0);
  response.write(out, kVersion);
  return out.finish(true)->to_string();
}

/// Frames whole in `bytes`, and how long they are together.
std::pair<size_t, size_t> whole_frames(const char* bytes, size_t size) {
  size_t count = 0;
  size_t at = 0;
  while (size - at >= 4) {
    uint32_t length = 0;
    std::memcpy(&length, bytes + at, 4);
    length = ntohl(length) + 4;
    if (size - at < length) break;
    at += length;
    ++count;
  }
  return {count, at};
}

void serve(int connection, int file, bool direct, bool sync) {
  static char* const bytes = static_cast<char*>(std::aligned_alloc(kBlock, kBytesMax));
  const std::string one = answer();
  size_t have = 0;
  off_t position = 0;
  while (true) {
    const ssize_t got = ::recv(connection, bytes + have, kBytesMax - have, 0);
    if (got <= 0) return;
    have += static_cast<size_t>(got);
    const auto [count, length] = whole_frames(bytes, have);
    if (count == 0) continue;
    // Around the cache only whole blocks: as many as that is.
    const size_t write = direct ? (length + kBlock - 1) / kBlock * kBlock : length;
    if (::pwrite(file, bytes, write, position) != static_cast<ssize_t>(write)) stop("write");
    position += static_cast<off_t>(write);
    if (sync && ::fdatasync(file) != 0) stop("fdatasync");
    std::memmove(bytes, bytes + length, have - length);
    have -= length;
    std::string answers;
    for (size_t i = 0; i < count; ++i) answers += one;
    if (::send(connection, answers.data(), answers.size(), MSG_NOSIGNAL) < 0) return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: millrace_floor sync|direct|none FILE\n");
    return 2;
  }
  const bool direct = argv[1] == std::string_view("direct");
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in here{};
  here.sin_family = AF_INET;
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof here;
  if (::bind(listener, reinterpret_cast<sockaddr*>(&here), size) || ::listen(listener, 8) ||
      ::getsockname(listener, reinterpret_cast<sockaddr*>(&here), &size)) {
    stop("listen");
  }
  fmt::print("{}\n", ntohs(here.sin_port));
  std::fflush(stdout);
  while (true) {
    const int connection = ::accept(listener, nullptr, nullptr);
    const int on = 1;
    ::setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const int file = ::open(argv[2], O_RDWR | O_CREAT | O_TRUNC | (direct ? O_DIRECT : 0), 0644);
    if (file < 0) stop(argv[2]);
    serve(connection, file, direct, argv[1] != std::string_view("none"));
    ::close(file);
    ::close(connection);
  }
}

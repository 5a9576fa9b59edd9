#include "base/io/socket.h"

#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <boost/asio/ip/tcp.hpp>

#include "base/io/detail/shard_impl.h"
#include "base/io/detail/socket_impl.h"

namespace millrace::io {

namespace {
using boost::system::error_code;

/// Starts an Asio operation with `start(handler)` and gives its error and count.
template <typename Start>
struct Transfer {
  Start start;
  error_code failed = {};
  size_t bytes = 0;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    start([this, h](error_code e, size_t n) {
      failed = e;
      bytes = n;
      h.resume();
    });
  }
  void await_resume() const noexcept {}
};
template <typename Start>
Transfer(Start) -> Transfer<Start>;

Error to_error(const Socket::Impl& socket, error_code failed) {
  namespace error = boost::asio::error;
  const bool gone = socket.shut || failed == error::eof || failed == error::connection_reset ||
                    failed == error::broken_pipe || failed == error::operation_aborted ||
                    failed == error::not_connected || failed == error::connection_aborted;
  return Error{gone ? ErrorCode::kConnectionClosed : ErrorCode::kIo,
               fmt::format("connection with {}: {}", socket.peer, failed.message())};
}

/// Continues when the socket may be read or written, or is cancelled.
struct Ready {
  boost::asio::ip::tcp::socket& socket;
  boost::asio::ip::tcp::socket::wait_type what;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    socket.async_wait(what, [h](error_code) { h.resume(); });
  }
  void await_resume() const noexcept {}
};

/// One sendfile() or sendmsg() takes so much at the most, and a shard does so much for one
/// connection before it looks at the others.
constexpr size_t kTurnBytes = 1u << 20;
constexpr size_t kVectorsMax = 64;

/// Sends pieces, as far as the socket takes them.
class Sending {
 public:
  Sending(int socket, std::span<const Piece> pieces) : socket_(socket), pieces_(pieces) {
    skip_empty();
  }
  bool done() const { return at_ == pieces_.size(); }
  /// Bytes, or -errno; never blocks. 0: a file ended before its range.
  int64_t step() {
    const int64_t n = pieces_[at_].file.file ? send_file() : send_bytes();
    if (n > 0) advance(static_cast<size_t>(n));
    return n;
  }

 private:
  size_t size_of(size_t i) const {
    return pieces_[i].file.file ? pieces_[i].file.length : pieces_[i].bytes.size();
  }
  int64_t send_file() {
    const FileRange& range = pieces_[at_].file;
    off_t position = static_cast<off_t>(range.position + sent_);
    const ssize_t n = ::sendfile(socket_, range.file->descriptor(), &position,
                                 std::min(range.length - sent_, kTurnBytes));
    return n < 0 ? -errno : n;
  }
  int64_t send_bytes() {
    iovec vectors[kVectorsMax];
    size_t count = 0;
    size_t skip = sent_;
    size_t i = at_;
    for (; i < pieces_.size() && !pieces_[i].file.file && count < kVectorsMax; ++i) {
      const auto bytes = pieces_[i].bytes.substr(skip);
      skip = 0;
      if (!bytes.empty()) vectors[count++] = {const_cast<char*>(bytes.data()), bytes.size()};
    }
    msghdr message{};
    message.msg_iov = vectors;
    message.msg_iovlen = count;
    const int more = i < pieces_.size() ? MSG_MORE : 0;
    const ssize_t n = ::sendmsg(socket_, &message, MSG_DONTWAIT | MSG_NOSIGNAL | more);
    return n < 0 ? -errno : n;
  }
  void advance(size_t bytes) {
    sent_ += bytes;
    while (at_ < pieces_.size() && sent_ >= size_of(at_)) sent_ -= size_of(at_++);
  }
  void skip_empty() { advance(0); }

  int socket_;
  std::span<const Piece> pieces_;
  size_t at_ = 0;
  size_t sent_ = 0;  // of pieces_[at_]
};
}  // namespace

Socket::Impl::Impl(Shard& s, boost::asio::ip::tcp::socket native)
    : shard(s), socket(std::move(native)) {
  error_code ignored;
  socket.set_option(boost::asio::ip::tcp::no_delay(true), ignored);
  // sendfile() has no flag for it. A peer that is gone without a word is noticed after some
  // minutes.
  socket.native_non_blocking(true, ignored);
  socket.set_option(boost::asio::socket_base::keep_alive(true), ignored);
  const int idle_s = 120, interval_s = 30, probes = 4;
  ::setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
  ::setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
  ::setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
  const auto endpoint = socket.remote_endpoint(ignored);
  peer =
      ignored ? "unknown" : fmt::format("{}:{}", endpoint.address().to_string(), endpoint.port());
}

Socket::Impl::~Impl() {
  if (open) open->remove(this);
}

void Socket::Impl::shutdown() {
  if (shut) return;
  shut = true;
  error_code ignored;
  socket.shutdown(boost::asio::ip::tcp::socket::shutdown_both, ignored);
  socket.cancel(ignored);
}

Socket::Socket(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Socket::~Socket() = default;
Socket::Socket(Socket&&) noexcept = default;

Task<Result<size_t>> Socket::read_some(std::span<char> into) {
  auto& impl = *impl_;
  auto read = Transfer{[&](auto handler) {
    impl.socket.async_read_some(boost::asio::buffer(into.data(), into.size()), std::move(handler));
  }};
  co_await read;
  if (impl.shut) co_return to_error(impl, boost::asio::error::eof);
  if (read.failed == boost::asio::error::eof) co_return size_t{0};
  if (read.failed) co_return to_error(impl, read.failed);
  co_return read.bytes;
}

Task<void> Socket::readable() {
  auto ready = Ready{impl_->socket, boost::asio::ip::tcp::socket::wait_read};
  if (!impl_->shut) co_await ready;
}

Result<std::optional<size_t>> Socket::read_now(std::span<char> into) {
  auto& impl = *impl_;
  if (impl.shut) return to_error(impl, boost::asio::error::eof);
  ssize_t n;
  do {
    n = ::recv(impl.socket.native_handle(), into.data(), into.size(), MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n >= 0) return std::optional(static_cast<size_t>(n));
  if (errno == EAGAIN || errno == EWOULDBLOCK) return std::optional<size_t>();
  return to_error(impl, error_code(errno, boost::system::system_category()));
}

Task<Result<>> Socket::write(std::span<const Piece> pieces) {
  auto& impl = *impl_;
  Sending sending(impl.socket.native_handle(), pieces);
  size_t turn = 0;
  while (!sending.done()) {
    if (impl.shut) co_return to_error(impl, boost::asio::error::eof);
    const int64_t n = sending.step();
    if (n > 0) {
      turn += static_cast<size_t>(n);
      if (turn < kTurnBytes || sending.done()) continue;
      turn = 0;
      auto yield = detail::Yield{impl.shard};
      co_await yield;
    } else if (n == -EAGAIN) {
      turn = 0;
      auto ready = Ready{impl.socket, boost::asio::ip::tcp::socket::wait_write};
      co_await ready;
    } else if (n == 0) {
      co_return Error{ErrorCode::kIo, fmt::format("connection with {}: a file became shorter while "
                                                  "it was sent",
                                                  impl.peer)};
    } else if (n != -EINTR) {
      const auto failed = error_code(static_cast<int>(-n), boost::system::system_category());
      co_return to_error(impl, failed);
    }
  }
  co_return Result<>();
}

Task<Result<>> Socket::write(std::span<const std::string_view> parts) {
  std::vector<Piece> pieces;
  pieces.reserve(parts.size());
  for (const auto part : parts) pieces.push_back({part, {}});
  co_return co_await write(pieces);
}

Task<Result<>> Socket::write(std::string_view bytes) {
  const Piece pieces[] = {{bytes, {}}};
  co_return co_await write(pieces);
}

void Socket::shutdown() { impl_->shutdown(); }
const std::string& Socket::peer() const { return impl_->peer; }
Shard& Socket::shard() { return impl_->shard; }

}  // namespace millrace::io

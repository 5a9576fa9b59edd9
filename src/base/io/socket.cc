#include "base/io/socket.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

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

/// The parts of one gathered write, as Asio reads them.
struct Parts {
  std::span<const std::string_view> parts;
  struct Iterator {
    using iterator_category = std::bidirectional_iterator_tag;
    using value_type = boost::asio::const_buffer;
    using difference_type = std::ptrdiff_t;
    using pointer = const value_type*;
    using reference = value_type;
    const std::string_view* at = nullptr;
    value_type operator*() const { return {at->data(), at->size()}; }
    Iterator& operator++() { return ++at, *this; }
    Iterator operator++(int) { return Iterator{at++}; }
    Iterator& operator--() { return --at, *this; }
    Iterator operator--(int) { return Iterator{at--}; }
    bool operator==(const Iterator&) const = default;
  };
  using value_type = boost::asio::const_buffer;
  using const_iterator = Iterator;
  Iterator begin() const { return {parts.data()}; }
  Iterator end() const { return {parts.data() + parts.size()}; }
};
}  // namespace

Socket::Impl::Impl(Shard& s, boost::asio::ip::tcp::socket native)
    : shard(s), socket(std::move(native)) {
  error_code ignored;
  socket.set_option(boost::asio::ip::tcp::no_delay(true), ignored);
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

Task<Result<>> Socket::write(std::span<const std::string_view> parts) {
  auto& impl = *impl_;
  auto write = Transfer{[&](auto handler) {
    boost::asio::async_write(impl.socket, Parts{parts}, std::move(handler));
  }};
  co_await write;
  if (write.failed) co_return to_error(impl, write.failed);
  co_return Result<>();
}

Task<Result<>> Socket::write(std::string_view bytes) {
  const std::string_view parts[] = {bytes};
  co_return co_await write(parts);
}

void Socket::shutdown() { impl_->shutdown(); }
const std::string& Socket::peer() const { return impl_->peer; }
Shard& Socket::shard() { return impl_->shard; }

}  // namespace millrace::io

#include <boost/asio/ip/tcp.hpp>
#include <charconv>

#include "base/io/detail/shard_impl.h"
#include "base/io/detail/socket_impl.h"
#include "base/io/gate.h"
#include "base/io/signal.h"
#include "base/io/socket.h"
#include "base/logging.h"

namespace millrace::io {

namespace {
using boost::asio::ip::tcp;
using boost::system::error_code;

Result<tcp::endpoint> parse_address(std::string_view text) {
  const auto bad = [&] {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("'{}' is not an address; write host:port, e.g. 127.0.0.1:9092", text)};
  };
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad();
  auto host = std::string(text.substr(0, colon));
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  if (host.empty() || host == "*") host = "0.0.0.0";
  uint16_t port = 0;
  const auto digits = text.substr(colon + 1);
  const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (digits.empty() || failed != std::errc() || end != digits.data() + digits.size()) return bad();

  error_code unknown;
  const auto literal = boost::asio::ip::make_address(host, unknown);
  if (!unknown) return tcp::endpoint(literal, port);
  boost::asio::io_context context;
  tcp::resolver resolver(context);
  const auto found = resolver.resolve(tcp::v4(), host, std::to_string(port), unknown);
  if (unknown || found.empty()) return bad();
  return found.begin()->endpoint();
}

struct Accept {
  tcp::acceptor& acceptor;
  boost::asio::io_context& target;
  error_code failed = {};
  std::optional<tcp::socket> socket = {};
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    acceptor.async_accept(target, [this, h](error_code e, tcp::socket s) {
      failed = e;
      socket.emplace(std::move(s));
      h.resume();
    });
  }
  void await_resume() const noexcept {}
};
}  // namespace

struct Listener::Impl {
  /// What one shard serves.
  struct Lane {
    explicit Lane(Shard& s) : shard(s), ended(s) {}
    Shard& shard;
    Gate gate;
    Signal ended;
    std::list<Socket::Impl*> open;
  };

  explicit Impl(Runtime& r) : runtime(r), home(r.shard(0)), acceptor(r.shard(0).impl().context) {
    for (size_t i = 0; i < r.shard_count(); ++i)
      lanes.push_back(std::make_unique<Lane>(r.shard(i)));
  }

  Task<void> accept_loop();
  Task<void> serve_one(Lane& lane, tcp::socket native);
  Task<void> stop_accepting();
  Task<void> close_lane(Lane& lane, std::chrono::steady_clock::time_point deadline);

  Runtime& runtime;
  Shard& home;
  tcp::acceptor acceptor;
  Gate accepting;
  std::vector<std::unique_ptr<Lane>> lanes;
  std::function<Task<void>(Socket)> serve;
  std::string address;
};

Task<void> Listener::Impl::accept_loop() {
  size_t next = 0;
  while (!accepting.closed()) {
    Lane& lane = *lanes[next];
    auto accept = Accept{acceptor, lane.shard.impl().context};
    co_await accept;
    if (accepting.closed()) co_return;
    if (accept.failed) {
      logging::warn("cannot accept a connection",
                    {{"address", address}, {"reason", accept.failed.message()}});
      co_await home.sleep(std::chrono::milliseconds(100), &accepting);
      continue;
    }
    next = (next + 1) % lanes.size();
    lane.shard.spawn(lane.gate, serve_one(lane, std::move(*accept.socket)));
  }
}

Task<void> Listener::Impl::serve_one(Lane& lane, tcp::socket native) {
  auto impl = std::make_unique<Socket::Impl>(lane.shard, std::move(native));
  lane.open.push_back(impl.get());
  impl->open = &lane.open;
  co_await serve(Socket(std::move(impl)));
  lane.ended.notify_all();
}

Task<void> Listener::Impl::stop_accepting() {
  error_code ignored;
  acceptor.close(ignored);
  co_await accepting.close();
}

Task<void> Listener::Impl::close_lane(Lane& lane, std::chrono::steady_clock::time_point deadline) {
  while (!lane.open.empty() && std::chrono::steady_clock::now() < deadline) {
    co_await lane.ended.wait_until(deadline);
  }
  for (auto* socket : lane.open) socket->shutdown();
  co_await lane.gate.close();
}

Listener::Listener(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Listener::~Listener() = default;

Result<std::unique_ptr<Listener>> Listener::listen(Runtime& runtime, std::string_view address) {
  MR_TRY(const auto endpoint, parse_address(address));
  auto impl = std::make_unique<Impl>(runtime);
  error_code failed;
  impl->acceptor.open(endpoint.protocol(), failed);
  if (!failed) impl->acceptor.set_option(tcp::acceptor::reuse_address(true), failed);
  if (!failed) impl->acceptor.bind(endpoint, failed);
  if (!failed) impl->acceptor.listen(1024, failed);
  if (failed == boost::asio::error::address_in_use) {
    return Error{ErrorCode::kIo,
                 fmt::format("cannot listen on {}: the address is in use by another program; stop "
                             "it, or choose another port (0 picks a free one)",
                             address)};
  }
  if (failed) {
    return Error{ErrorCode::kIo, fmt::format("cannot listen on {}: {}", address, failed.message())};
  }
  const auto local = impl->acceptor.local_endpoint(failed);
  const auto host = local.address().to_string();
  impl->address = local.address().is_v6() ? fmt::format("[{}]:{}", host, local.port())
                                          : fmt::format("{}:{}", host, local.port());
  return std::unique_ptr<Listener>(new Listener(std::move(impl)));
}

const std::string& Listener::address() const { return impl_->address; }

void Listener::start(std::function<Task<void>(Socket)> serve) {
  impl_->serve = std::move(serve);
  impl_->home.spawn(impl_->accepting, impl_->accept_loop());
}

Task<void> Listener::close(std::chrono::milliseconds grace) {
  const auto deadline = std::chrono::steady_clock::now() + grace;
  co_await impl_->home.call(impl_->stop_accepting());
  for (auto& lane : impl_->lanes) {
    co_await lane->shard.call(impl_->close_lane(*lane, deadline));
  }
}

}  // namespace millrace::io

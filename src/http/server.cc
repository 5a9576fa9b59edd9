#include "http/server.h"

#include <atomic>
#include <list>
#include <span>
#include <vector>

#include "base/logging.h"
#include "http/detail/exchange.h"

namespace millrace::http {
namespace {

class ServerImpl : public Server {
 public:
  ServerImpl(io::Runtime& runtime, io::Env& env, Options options)
      : runtime_(runtime),
        env_(env),
        options_(std::move(options)),
        requests_(env.metrics().counter("millrace_http_requests_total", "HTTP requests answered")),
        idle_(runtime.shard_count()) {}

  Result<> listen(std::string_view address) {
    MR_TRY(listener_, io::Listener::listen(runtime_, address));
    listener_->start([this](io::Socket socket) { return serve(std::move(socket)); });
    return {};
  }

  const std::string& address() const override { return listener_->address(); }

  io::Task<void> close(std::chrono::milliseconds grace) override {
    closing_ = true;
    for (size_t i = 0; i < idle_.size(); i++) co_await runtime_.shard(i).call(end_idle(i));
    co_await listener_->close(grace);
  }

 private:
  io::Task<void> serve(io::Socket socket);
  io::Task<Result<size_t>> read(io::Socket& socket, std::span<char> into);
  io::Task<void> end_idle(size_t shard);
  detail::Answer answer(const detail::Request& request);

  io::Runtime& runtime_;
  io::Env& env_;
  Options options_;
  Metrics::Counter& requests_;
  std::vector<std::list<io::Socket*>> idle_;  // a shard's connections that wait for their client
  std::atomic<bool> closing_ = false;
  std::unique_ptr<io::Listener> listener_;
};

detail::Answer ServerImpl::answer(const detail::Request& request) {
  std::string_view target = request.target;
  std::string_view path = target.substr(0, target.find('?'));
  if (path != "/metrics" && path != "/healthz") {
    return {404, "text/plain; charset=utf-8", "not found: there are /metrics and /healthz\n"};
  }
  if (request.method != "GET" && request.method != "HEAD") {
    return {405, "text/plain; charset=utf-8", "only GET and HEAD\n"};
  }
  if (path == "/metrics") {
    return {200, "text/plain; version=0.0.4; charset=utf-8", env_.metrics().render()};
  }
  Result<> health = closing_          ? Error{ErrorCode::kShuttingDown, "the node is stopping"}
                    : options_.health ? options_.health()
                                      : Result<>();
  if (health) return {200, "text/plain; charset=utf-8", "ok\n"};
  return {503, "text/plain; charset=utf-8", health.error().text + "\n"};
}

io::Task<void> ServerImpl::serve(io::Socket socket) {
  detail::Exchange exchange;
  std::array<char, 4096> buffer;
  while (true) {
    auto request = exchange.next();
    if (!request) {
      logging::warn("HTTP connection ended",
                    {{"peer", socket.peer()}, {"reason", request.error().text}});
      std::string refusal = exchange.refuse(request.error());
      (void)co_await socket.write(refusal);
      co_return;
    }
    if (*request) {
      // To render metrics and to look at the node's health may take locks: not on a shard.
      auto work = [this, &request] { return answer(**request); };
      detail::Answer answered = co_await runtime_.blocking(work);
      requests_.add();
      bool keep = (*request)->keep_alive && !closing_;
      std::string response = exchange.respond(**request, answered, keep);
      auto written = co_await socket.write(response);
      if (!written || !keep) co_return;
      continue;
    }
    auto got = co_await read(socket, buffer);
    if (!got || *got == 0) co_return;
    exchange.feed(std::string_view(buffer.data(), *got));
  }
}

io::Task<Result<size_t>> ServerImpl::read(io::Socket& socket, std::span<char> into) {
  auto& idle = idle_[socket.shard().index()];
  auto at = idle.insert(idle.end(), &socket);
  auto got = co_await socket.read_some(into);
  idle.erase(at);
  co_return got;
}

io::Task<void> ServerImpl::end_idle(size_t shard) {
  for (io::Socket* socket : idle_[shard]) socket->shutdown();
  co_return;
}

}  // namespace

Result<std::unique_ptr<Server>> Server::listen(io::Runtime& runtime, io::Env& env,
                                               std::string_view address, Options options) {
  auto server = std::make_unique<ServerImpl>(runtime, env, std::move(options));
  MR_TRY(server->listen(address));
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace millrace::http

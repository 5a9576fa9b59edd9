#include "http/server.h"

#include <atomic>
#include <list>
#include <span>
#include <vector>

#include "base/io/client_wait.h"
#include "base/logging.h"
#include "http/detail/exchange.h"
#include "http/detail/feed.h"
#include "http/detail/function_requests.h"
#include "http/detail/query.h"

namespace millrace::http {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view kFeedPath = "/v1/subscribe";
constexpr std::string_view kSourcePath = "/v1/sources/";
// How often a subscription is asked whether its view is still there.
constexpr auto kAskAgain = std::chrono::seconds(1);
// Proxies and browsers take a connection for dead that says nothing for a minute or so.
constexpr auto kSilenceMax = std::chrono::seconds(15);

class ServerImpl : public Server {
 public:
  ServerImpl(io::Runtime& runtime, io::Env& env, Options options)
      : runtime_(runtime),
        env_(env),
        options_(std::move(options)),
        requests_(env.metrics().counter("millrace_http_requests_total", "HTTP requests answered")),
        feeds_now_(
            env.metrics().gauge("millrace_http_subscriptions", "Subscriptions over HTTP open now")),
        idle_(runtime.shard_count()),
        feeds_(runtime.shard_count()) {}

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
  detail::Answer ingest(const detail::Request& request);
  detail::Answer functions(const detail::Request& request);
  bool is_feed(const detail::Request& request) const;
  io::Task<Result<>> feed(io::Socket& socket, detail::Exchange& exchange,
                          const detail::Request& request);
  Result<std::unique_ptr<detail::Feed>> open_feed(const detail::Request& request);
  io::Task<void> run(detail::Feed& feed, io::Socket& socket, std::string from_client);

  io::Runtime& runtime_;
  io::Env& env_;
  Options options_;
  Metrics::Counter& requests_;
  Metrics::Gauge& feeds_now_;
  std::vector<std::list<io::Socket*>> idle_;  // a shard's connections that wait for their client
  std::vector<std::list<std::shared_ptr<io::Bell>>> feeds_;  // a shard's subscriptions
  std::atomic<bool> closing_ = false;
  std::unique_ptr<io::Listener> listener_;
};

detail::Answer refusal(const Error& error) {
  return {info(error.code).http, "application/json", detail::to_json(error) + "\n"};
}

detail::Answer stopping() {
  return refusal(Error{ErrorCode::kShuttingDown, "the node is stopping"});
}

detail::Answer ServerImpl::answer(const detail::Request& request) {
  const auto path = detail::path_of(request.target);
  // A browser posts for any page that is open in it, to localhost too.
  if (request.foreign_page && request.method == "POST") {
    return refusal(Error{ErrorCode::kNotAllowed, "a page of another origin changes nothing here"});
  }
  if (options_.functions && detail::is_of_functions(path)) return functions(request);
  if (options_.ingest && path.starts_with(kSourcePath)) return ingest(request);
  if (path != "/metrics" && path != "/healthz" && path != kFeedPath) {
    return {404, "text/plain; charset=utf-8",
            "not found: there are /metrics, /healthz, /v1/subscribe, /v1/functions and "
            "/v1/sources/NAME\n"};
  }
  if (request.method != "GET" && request.method != "HEAD") {
    return {405, "text/plain; charset=utf-8", "only GET and HEAD\n"};
  }
  if (path == kFeedPath) return {405, "text/plain; charset=utf-8", "only GET\n"};
  if (path == "/metrics") {
    return {200, "text/plain; version=0.0.4; charset=utf-8", env_.metrics().render()};
  }
  Result<> health = closing_          ? Error{ErrorCode::kShuttingDown, "the node is stopping"}
                    : options_.health ? options_.health()
                                      : Result<>();
  if (health) return {200, "text/plain; charset=utf-8", "ok\n"};
  return {503, "text/plain; charset=utf-8", health.error().text + "\n"};
}

detail::Answer ServerImpl::functions(const detail::Request& request) {
  return closing_ ? stopping() : detail::answer_functions(*options_.functions, request);
}

detail::Answer ServerImpl::ingest(const detail::Request& request) {
  if (request.method != "POST") return {405, "text/plain; charset=utf-8", "only POST\n", "POST"};
  const auto name = detail::path_of(request.target).substr(kSourcePath.size());
  if (closing_) return stopping();
  const auto put = options_.ingest(std::string(name), request.body);
  if (put) return {200, "application/json", fmt::format("{{\"records\":{}}}\n", *put)};
  return refusal(put.error());
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
    if (*request && is_feed(**request)) {
      requests_.add();
      auto fed = co_await feed(socket, exchange, **request);
      if (fed) co_return;
      const auto refused = refusal(fed.error());
      bool keep = (*request)->keep_alive && !closing_;
      std::string response = exchange.respond(**request, refused, keep);
      auto written = co_await socket.write(response);
      if (!written || !keep) co_return;
      continue;
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

bool ServerImpl::is_feed(const detail::Request& request) const {
  return options_.subscribe && request.method == "GET" &&
         detail::path_of(request.target) == kFeedPath;
}

Result<std::unique_ptr<detail::Feed>> ServerImpl::open_feed(const detail::Request& request) {
  if (closing_) return Error{ErrorCode::kShuttingDown, "the node is stopping"};
  MR_TRY(auto asked, detail::read_feed_request(request));
  MR_TRY(auto subscription, options_.subscribe(asked.view, std::move(asked.options)));
  return std::make_unique<detail::Feed>(request, std::move(subscription));
}

/// Errors: nothing was answered yet.
io::Task<Result<>> ServerImpl::feed(io::Socket& socket, detail::Exchange& exchange,
                                    const detail::Request& request) {
  auto open = [&] { return open_feed(request); };
  auto feed = co_await runtime_.blocking(open);
  if (!feed) co_return std::move(feed).error();
  feeds_now_.add(1);
  co_await run(**feed, socket, exchange.take_rest());
  feeds_now_.add(-1);
  auto end = [&] { feed->reset(); };
  co_await runtime_.blocking(end);
  co_return Result<>();
}

/// Sends what changes until the client is gone. Holds no thread while nothing does, and reads on
/// only when the socket has taken what was read.
io::Task<void> ServerImpl::run(detail::Feed& feed, io::Socket& socket, std::string from_client) {
  io::ClientWait waiting(socket);
  auto& feeds = feeds_[socket.shard().index()];
  auto at = feeds.insert(feeds.end(), waiting.bell());
  feed.subscription().on_changes([bell = waiting.bell()] { bell->ring(); });
  std::array<char, 4096> buffer;
  std::string output = feed.head() + feed.take(from_client);
  auto spoke = Clock::now();
  while (true) {
    if (closing_ && !feed.ended()) output += feed.shut_down();
    if (!feed.ended()) {
      auto next = [&feed] { return feed.next(); };
      output += co_await runtime_.blocking(next);
    }
    const bool silent = output.empty();
    if (!silent) {
      auto written = co_await socket.write(output);
      if (!written) break;
      output.clear();
      spoke = Clock::now();
    }
    if (feed.ended()) break;
    auto sent = co_await waiting.wait(silent ? kAskAgain : Clock::duration(0), buffer);
    if (!sent) break;
    output = feed.take(std::string_view(buffer.data(), *sent));
    if (output.empty() && Clock::now() - spoke >= kSilenceMax) output = feed.sign_of_life();
  }
  feeds.erase(at);
  co_await waiting.close();
}

io::Task<void> ServerImpl::end_idle(size_t shard) {
  for (const auto& bell : feeds_[shard]) bell->ring();
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

#include "pgwire/server.h"

#include <list>

#include "base/io/client_wait.h"
#include "base/io/gate.h"
#include "base/logging.h"
#include "guard/users.h"
#include "pgwire/detail/connection.h"

namespace millrace::pgwire {
namespace {

using detail::Connection;

constexpr auto kStartupTime = std::chrono::seconds(60);
// How often a subscription is asked whether its view is still there.
constexpr auto kAwaitMost = std::chrono::seconds(1);

/// Connections by process id, for CancelRequest, which comes on a connection (and perhaps a shard)
/// of its own. Any thread: a mutex, since this is not on any record's way.
class Registry : public detail::Canceller {
 public:
  void add(Connection& connection) {
    std::lock_guard lock(mutex_);
    connections_[connection.process()] = &connection;
  }
  void remove(Connection& connection) {
    std::lock_guard lock(mutex_);
    connections_.erase(connection.process());
  }
  void cancel(int32_t process, int32_t secret) override {
    std::lock_guard lock(mutex_);
    auto found = connections_.find(process);
    if (found != connections_.end() && found->second->secret() == secret) {
      found->second->interrupt();
    }
  }
  void interrupt_all() {
    std::lock_guard lock(mutex_);
    for (auto& [process, connection] : connections_) connection->interrupt();
  }

 private:
  std::mutex mutex_;
  std::unordered_map<int32_t, Connection*> connections_;
};

class ServerImpl : public Server {
 public:
  ServerImpl(io::Runtime& runtime, io::Env& env, sql::Engine& engine, const catalog::Catalog* users)
      : runtime_(runtime),
        env_(env),
        engine_(engine),
        users_(users),
        connections_now_(
            env.metrics().gauge("millrace_pgwire_connections", "PostgreSQL connections open now")),
        connections_(env.metrics().counter("millrace_pgwire_connections_total",
                                           "PostgreSQL connections accepted")),
        statements_(env.metrics().counter("millrace_pgwire_statements_total",
                                          "Statements run for PostgreSQL clients")),
        errors_(env.metrics().counter("millrace_pgwire_errors_total",
                                      "Errors answered to PostgreSQL clients")),
        lanes_(runtime.shard_count()) {}

  Result<> listen(std::string_view address) {
    MR_TRY(listener_, io::Listener::listen(runtime_, address));
    listener_->start([this](io::Socket socket) { return serve(std::move(socket)); });
    return {};
  }

  const std::string& address() const override { return listener_->address(); }

  io::Task<void> close(std::chrono::milliseconds grace) override {
    closing_ = true;
    for (size_t i = 0; i < lanes_.size(); i++) co_await runtime_.shard(i).call(end_idle(i));
    io::Shard& here = *io::Shard::current();
    here.spawn(closing_gate_, interrupt_after(here, grace));
    co_await listener_->close(grace);
    co_await closing_gate_.close();
  }

 private:
  /// The connections of one shard that wait for their client.
  struct Lane {
    std::list<io::Socket*> idle;
  };

  io::Task<void> serve(io::Socket socket);
  io::Task<void> converse(io::Socket& socket, Connection& connection, io::ClientWait& waiting,
                          io::Gate& startup);
  io::Task<Result<size_t>> await_rows(io::Socket& socket, Connection& connection,
                                      io::ClientWait& waiting, std::span<char> into);
  io::Task<void> end_unless_started(io::Socket& socket, io::Gate& startup);
  io::Task<Result<size_t>> read(io::Socket& socket, std::span<char> into);
  io::Task<void> end_idle(size_t lane);
  io::Task<void> interrupt_after(io::Shard& shard, std::chrono::milliseconds grace);
  void count(Connection& connection);
  detail::VerifierOf verifiers() const {
    if (!users_) return {};
    return [users = users_](const std::string& name) {
      const auto snapshot = users->snapshot();
      const auto* user = snapshot->find_user(name);
      return user ? guard::verifier_of(*user, guard::Digest::kSha256) : std::nullopt;
    };
  }

  io::Runtime& runtime_;
  io::Env& env_;
  sql::Engine& engine_;
  const catalog::Catalog* users_;
  Metrics::Gauge& connections_now_;
  Metrics::Counter& connections_;
  Metrics::Counter& statements_;
  Metrics::Counter& errors_;
  Registry registry_;
  std::vector<Lane> lanes_;
  std::atomic<bool> closing_ = false;
  io::Gate closing_gate_;
  std::atomic<int32_t> next_process_ = 1;
  std::unique_ptr<io::Listener> listener_;
};

io::Task<void> ServerImpl::serve(io::Socket socket) {
  io::ClientWait waiting(socket);
  Connection::Setup setup{engine_,
                          registry_,
                          next_process_++,
                          static_cast<int32_t>(env_.random()),
                          [bell = waiting.bell()] { bell->ring(); },
                          verifiers()};
  auto connection = std::make_unique<Connection>(std::move(setup));
  registry_.add(*connection);
  connections_.add();
  connections_now_.add(1);
  io::Gate startup;  // open until the connection has a session
  socket.shard().spawn(startup, end_unless_started(socket, startup));
  co_await converse(socket, *connection, waiting, startup);
  co_await waiting.close();
  if (!startup.closed()) co_await startup.close();
  connections_now_.add(-1);
  registry_.remove(*connection);
  if (!connection->close_reason().empty()) {
    logging::warn("PostgreSQL connection ended",
                  {{"peer", socket.peer()}, {"reason", connection->close_reason()}});
  }
  // A CancelRequest's client waits for the end of its connection, which must not wait for the pool:
  // the statements that it would cancel may hold every thread there.
  if (!connection->has_session()) co_return;
  socket.shutdown();
  // To end a session rolls back and may wait: not here.
  auto end = [&] { connection.reset(); };
  co_await runtime_.blocking(end);
}

io::Task<void> ServerImpl::converse(io::Socket& socket, Connection& connection,
                                    io::ClientWait& waiting, io::Gate& startup) {
  std::array<char, 16 << 10> buffer;
  size_t filled = 0;
  auto todo = Connection::Todo::kRead;
  while (true) {
    std::string_view bytes(buffer.data(), filled);
    if (connection.has_session() || todo == Connection::Todo::kConnect) {
      auto advance = [&connection, bytes] { return connection.advance(bytes); };
      todo = co_await runtime_.blocking(advance);
    } else {
      todo = connection.greet(bytes);
    }
    filled = 0;
    count(connection);
    if (connection.has_session() && !startup.closed()) co_await startup.close();
    const bool waits = todo == Connection::Todo::kRead || todo == Connection::Todo::kAwait;
    if (waits && closing_) todo = connection.shut_down();
    std::string output = connection.take_output();
    if (!output.empty()) {
      auto written = co_await socket.write(output);
      if (!written) co_return;
    }
    if (todo == Connection::Todo::kClose) co_return;
    if (todo == Connection::Todo::kAwait) {
      auto sent = co_await await_rows(socket, connection, waiting, buffer);
      if (!sent) co_return;
      filled = *sent;
    }
    if (todo != Connection::Todo::kRead) continue;
    auto got = co_await read(socket, buffer);
    if (!got || *got == 0) co_return;
    filled = *got;
  }
}

/// Gives what the client has sent meanwhile. Holds no thread. Errors: the client is gone.
io::Task<Result<size_t>> ServerImpl::await_rows(io::Socket& socket, Connection& connection,
                                                io::ClientWait& waiting, std::span<char> into) {
  std::chrono::nanoseconds most = kAwaitMost;
  if (const auto until = connection.await_until())
    most = std::clamp<std::chrono::nanoseconds>(*until - std::chrono::steady_clock::now(),
                                                std::chrono::nanoseconds(0), most);
  Lane& lane = lanes_[socket.shard().index()];
  auto at = lane.idle.insert(lane.idle.end(), &socket);
  auto sent = co_await waiting.wait(most, into);
  lane.idle.erase(at);
  co_return sent;
}

/// Ends a connection that has not said who it is in time.
io::Task<void> ServerImpl::end_unless_started(io::Socket& socket, io::Gate& startup) {
  co_await socket.shard().sleep(kStartupTime, &startup);
  if (!startup.closed()) socket.shutdown();
}

io::Task<Result<size_t>> ServerImpl::read(io::Socket& socket, std::span<char> into) {
  Lane& lane = lanes_[socket.shard().index()];
  auto at = lane.idle.insert(lane.idle.end(), &socket);
  auto got = co_await socket.read_some(into);
  lane.idle.erase(at);
  co_return got;
}

io::Task<void> ServerImpl::end_idle(size_t lane) {
  for (io::Socket* socket : lanes_[lane].idle) socket->shutdown();
  co_return;
}

io::Task<void> ServerImpl::interrupt_after(io::Shard& shard, std::chrono::milliseconds grace) {
  co_await shard.sleep(grace, &closing_gate_);
  registry_.interrupt_all();
}

void ServerImpl::count(Connection& connection) {
  auto counts = connection.take_counts();
  if (counts.statements > 0) statements_.add(static_cast<double>(counts.statements));
  if (counts.errors > 0) errors_.add(static_cast<double>(counts.errors));
}

}  // namespace

Result<std::unique_ptr<Server>> Server::listen(io::Runtime& runtime, io::Env& env,
                                               sql::Engine& engine, std::string_view address,
                                               const catalog::Catalog* users) {
  auto server = std::make_unique<ServerImpl>(runtime, env, engine, users);
  MR_TRY(server->listen(address));
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace millrace::pgwire

#include "kafka/server.h"

#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <list>

#include "base/logging.h"
#include "kafka/detail/connection.h"
#include "kafka/messages.h"

namespace millrace::kafka {

namespace {

/// Splits host:port; [::1]:9092 gives ::1.
Result<std::pair<std::string, int32_t>> split_address(std::string_view address) {
  const auto colon = address.rfind(':');
  int32_t port = 0;
  if (colon != std::string_view::npos) {
    const auto digits = address.substr(colon + 1);
    std::from_chars(digits.data(), digits.data() + digits.size(), port);
  }
  if (port < 1 || port > 65535 || colon == 0) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("'{}' is not an address for clients; write host:port", address)};
  }
  auto host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  return std::pair(std::string(host), port);
}

/// "Every interface" is no address for a client.
std::string reachable(std::string host) {
  if (host != "0.0.0.0" && host != "::") return host;
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 && name[0] != '\0' ? name : "127.0.0.1";
}

/// Kafka's spelling of a cluster's id: a UUID in URL-safe base64 without padding, 22 letters.
std::string cluster_id_text(const Uuid& id) {
  static constexpr char kLetters[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string text;
  uint32_t bits = 0;
  int count = 0;
  for (uint8_t byte : id.bytes) {
    bits = bits << 8 | byte;
    for (count += 8; count >= 6; count -= 6) text += kLetters[bits >> (count - 6) & 63];
  }
  return text + kLetters[bits << (6 - count) & 63];
}

/// The cluster's id, made when the node first listens, and kept beside the log.
Result<std::string> cluster_id(io::Env& env, const std::string& log_path) {
  const auto path = (std::filesystem::path(log_path).parent_path() / "cluster.id").string();
  if (env.files().exists(path)) {
    MR_TRY(std::string text, env.files().read_file(path));
    while (!text.empty() && text.back() == '\n') text.pop_back();
    MR_TRY(const Uuid id, Uuid::parse(text));
    return cluster_id_text(id);
  }
  const Uuid id = Uuid::random();
  MR_TRY(env.files().replace_file(path, id.to_string() + "\n"));
  return cluster_id_text(id);
}

constexpr auto kSweepInterval = std::chrono::seconds(1);

/// Counts as long as it lives.
class Counted {
 public:
  explicit Counted(std::atomic<size_t>& count) : count_(count) { ++count_; }
  ~Counted() { --count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  std::atomic<size_t>& count_;
};

class ServerImpl final : public Server {
 public:
  ServerImpl(io::Runtime& runtime, io::Env& env, broker::Broker& broker, Coordinators coordinators,
             std::unique_ptr<io::Listener> listener, ServerLimits limits)
      : services_{.runtime = runtime, .env = env, .broker = broker, .coordinators = coordinators},
        listener_(std::move(listener)),
        connections_(runtime.shard_count()) {
    auto& metrics = env.metrics();
    for (const ApiInfo& api : kApis) {
      services_.requests.push_back(&metrics.counter("millrace_kafka_requests_total",
                                                    "Requests over the Kafka protocol",
                                                    {{"api", std::string(api.name)}}));
    }
    services_.connections =
        &metrics.gauge("millrace_kafka_connections", "Open connections of the Kafka protocol");
    services_.bytes_in = &metrics.counter("millrace_kafka_received_bytes_total",
                                          "Bytes received from Kafka clients");
    services_.bytes_out =
        &metrics.counter("millrace_kafka_sent_bytes_total", "Bytes sent to Kafka clients");
    services_.server_limits = limits;
    services_.memory = std::make_unique<io::MemoryBudget>(limits.memory_bytes);
    services_.fetch_sessions =
        std::make_unique<FetchSessions>(env, broker, FetchSessions::Limits{});
    for (size_t i = 0; i < runtime.shard_count(); ++i) {
      auto& shard = runtime.shard(i);
      services_.plain_logins.push_back(std::make_unique<io::Turn>(shard));
      services_.watchers.push_back(std::make_unique<Watcher>(shard));
      services_.memory_gates.push_back(std::make_unique<MemoryGate>(shard, *services_.memory));
      sweeping_.push_back(std::make_unique<io::Gate>());
    }
  }

  Services& services() { return services_; }
  void start() {
    for (size_t i = 0; i < connections_.size(); ++i) {
      services_.runtime.shard(i).spawn(*sweeping_[i], sweep(i));
    }
    listener_->start([this](io::Socket socket) { return serve(std::move(socket)); });
  }

  const std::string& address() const override { return listener_->address(); }

  io::Task<std::vector<ConnectionInfo>> connections() override {
    std::vector<ConnectionInfo> all;
    for (size_t i = 0; i < connections_.size(); ++i) {
      co_await services_.runtime.shard(i).call(list_connections(i, all));
    }
    co_return all;
  }

  io::Task<void> close(std::chrono::milliseconds grace) override {
    for (size_t i = 0; i < connections_.size(); ++i) {
      co_await services_.runtime.shard(i).call(stop_connections(i));
    }
    co_await listener_->close(grace);
    for (size_t i = 0; i < connections_.size(); ++i) {
      co_await services_.runtime.shard(i).call(close_shard(i));
    }
  }

 private:
  /// On the shard of its index; `stopping` makes late comers leave at once.
  struct Connections {
    std::list<Connection*> open;
    bool stopping = false;
  };

  io::Task<void> serve(io::Socket socket) {
    auto& mine = connections_[socket.shard().index()];
    if (mine.stopping) co_return;
    const Counted counted(open_);
    if (open_ > services_.server_limits.connections_max) {
      logging::warn("too many Kafka connections, one is refused", {{"peer", socket.peer()}});
      co_return;
    }
    Connection connection(services_, std::move(socket));
    const auto at = mine.open.insert(mine.open.end(), &connection);
    co_await connection.run();
    mine.open.erase(at);
  }

  /// Looks after the connections of one shard.
  io::Task<void> sweep(size_t shard) {
    auto& gate = *sweeping_[shard];
    while (!gate.closed()) {
      co_await services_.runtime.shard(shard).sleep(kSweepInterval, &gate);
      const auto now = std::chrono::steady_clock::now();
      // One that is closed may leave the list at once.
      const auto& open = connections_[shard].open;
      const std::vector<Connection*> looked_after(open.begin(), open.end());
      for (auto* connection : looked_after) connection->close_if_idle(now);
    }
  }

  io::Task<void> close_shard(size_t shard) {
    co_await sweeping_[shard]->close();
    co_await services_.memory_gates[shard]->close();
    co_await services_.watchers[shard]->close();
  }

  io::Task<void> list_connections(size_t shard, std::vector<ConnectionInfo>& all) {
    for (const auto* connection : connections_[shard].open) all.push_back(connection->described());
    co_return;
  }

  io::Task<void> stop_connections(size_t shard) {
    auto& mine = connections_[shard];
    mine.stopping = true;
    // A connection that ends leaves the list.
    const std::vector<Connection*> open(mine.open.begin(), mine.open.end());
    for (auto* connection : open) connection->stop();
    co_return;
  }

  Services services_;
  std::unique_ptr<io::Listener> listener_;
  std::vector<Connections> connections_;             // by shard
  std::vector<std::unique_ptr<io::Gate>> sweeping_;  // by shard
  std::atomic<size_t> open_{0};                      // connections
};

}  // namespace

Result<std::unique_ptr<Server>> Server::listen(io::Runtime& runtime, io::Env& env,
                                               broker::Broker& broker, Coordinators coordinators,
                                               std::string_view address,
                                               std::string_view advertised, ServerLimits limits) {
  MR_TRY(auto id, cluster_id(env, broker.options().path));
  MR_TRY(auto listener, io::Listener::listen(runtime, address));
  MR_TRY(auto told, split_address(advertised.empty() ? listener->address() : advertised));
  auto server =
      std::make_unique<ServerImpl>(runtime, env, broker, coordinators, std::move(listener), limits);
  server->services().host = reachable(std::move(told.first));
  server->services().port = told.second;
  server->services().cluster_id = std::move(id);
  server->start();
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace millrace::kafka

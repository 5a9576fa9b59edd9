#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/io/gate.h"
#include "base/io/signal.h"
#include "base/io/turn.h"
#include "broker/broker.h"
#include "kafka/detail/fetch_sessions.h"
#include "kafka/detail/header.h"
#include "kafka/detail/login.h"
#include "kafka/detail/memory_gate.h"
#include "kafka/detail/watcher.h"
#include "kafka/server.h"

namespace millrace::kafka {

/// Limits of one connection.
struct Limits {
  // Kafka's socket.request.max.bytes, and room for what stands around a record of 100 MiB.
  size_t frame_bytes_max = 105u << 20;
  size_t in_flight_bytes_max = 16u << 20;  // requests read and not yet answered; one may be larger
  size_t in_flight_requests_max = 1024;
  size_t unsent_bytes_max = 8u << 20;   // responses; no request but Produce is begun above
  int32_t fetch_bytes_max = 55u << 20;  // Kafka's fetch.max.bytes
  int32_t max_wait_ms = 5 * 60 * 1000;  // of one fetch
};

/// What handlers share: one per server, immutable but for what each shard owns.
struct Services {
  io::Runtime& runtime;
  io::Env& env;
  broker::Broker& broker;
  Coordinators coordinators;
  std::string host = {};  // what clients are told
  int32_t port = 0;
  std::string cluster_id = {};
  Limits limits = {};
  ServerLimits server_limits = {};
  std::unique_ptr<io::MemoryBudget> memory = {};
  std::unique_ptr<FetchSessions> fetch_sessions = {};
  std::vector<std::unique_ptr<Watcher>> watchers = {};         // by shard
  std::vector<std::unique_ptr<MemoryGate>> memory_gates = {};  // by shard
  std::vector<std::unique_ptr<io::Turn>> plain_logins = {};    // by shard
  std::vector<Metrics::Counter*> requests = {};                // by row of kApis
  Metrics::Gauge* connections = nullptr;
  Metrics::Counter* bytes_in = nullptr;
  Metrics::Counter* bytes_out = nullptr;
};

/// What a handler knows beside the request itself. Lives longer than the request.
struct Context {
  Services& services;
  io::Shard& shard;   // the connection's
  io::Gate& gate;     // of the connection: for what a handler runs beside itself
  io::Signal& hurry;  // notified when the connection ends: long polls answer
  const bool& ending;
  RequestHeader header;
  std::string& frame;  // of the request; a handler may take it, if it looks at the request no more
  size_t request_bytes = 0;
  std::chrono::milliseconds throttle{0};       // how long the client is to be kept waiting
  std::chrono::steady_clock::duration busy{};  // worked on the request, as far as it is known
  std::string_view peer = {};                  // the client's address, with its port
  ConnectionInfo& client;                      // of the connection
  Login& login;                                // of the connection
  bool closes = false;                         // the connection, once this is answered

  broker::Broker& broker() const { return services.broker; }
  broker::Groups& groups() const { return services.coordinators.groups; }
  broker::Transactions& transactions() const { return services.coordinators.transactions; }
  broker::ShareGroups& share_groups() const { return services.coordinators.share_groups; }
  broker::Quotas& quotas() const { return services.coordinators.quotas; }
  broker::GroupConfigs& group_configs() const { return services.coordinators.group_configs; }
  int16_t version() const { return header.api_version; }

  std::string_view client_id() const {
    return header.client_id ? std::string_view(*header.client_id) : std::string_view();
  }
  /// Counts against the client's quota; gives how long it is to be kept waiting.
  std::chrono::milliseconds charge(broker::QuotaKind kind, double amount) const {
    return quotas().charge(kind, client.user, client_id(), amount);
  }
};

}  // namespace millrace::kafka

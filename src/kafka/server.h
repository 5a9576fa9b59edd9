#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/io/socket.h"
#include "broker/group_configs.h"
#include "broker/groups.h"
#include "broker/quotas.h"
#include "broker/share_groups.h"
#include "broker/transactions.h"
#include "catalog/catalog.h"
#include "guard/users.h"

namespace millrace::kafka {

/// What stands beside the broker for clients; all of it outlives the server.
struct Coordinators {
  broker::Groups& groups;
  broker::Transactions& transactions;
  broker::ShareGroups& share_groups;
  broker::Quotas& quotas;
  broker::GroupConfigs& group_configs;
  const catalog::Catalog& catalog;  // knows the users
};

/// What all connections together may take.
struct ServerLimits {
  size_t memory_bytes = 256u << 20;  // requests that came, answers that have not gone
  size_t connections_max = 10'000;
  std::chrono::milliseconds idle{10 * 60 * 1000};  // Kafka's connections.max.idle.ms
  std::chrono::milliseconds stalled{10'000};       // half a request, while memory is short
};

/// One client's connection at one moment.
struct ConnectionInfo {
  std::string peer;                     // address and port
  std::string client_id;                // of its last request
  std::string user{guard::kAnonymous};  // that it is logged in as
  std::string software;                 // name and version, as the client said them (KIP-511)
  size_t shard = 0;
  int64_t connected_ms = 0;
  uint64_t requests = 0;
  uint64_t received_bytes = 0;
  uint64_t sent_bytes = 0;
};

/// The Kafka protocol over the broker; docs/kafka.md says which requests are answered, and how.
/// A connection lives on one shard; its requests are answered in the order in which they came.
class Server {
 public:
  /// Listens on `address` (host:port; port 0 picks a free one). Clients are told to connect to
  /// `advertised` (host:port); empty: the address in use, or this machine's name when that is every
  /// interface. Errors: kInvalidArgument, kIo.
  static Result<std::unique_ptr<Server>> listen(io::Runtime& runtime, io::Env& env,
                                                broker::Broker& broker, Coordinators coordinators,
                                                std::string_view address,
                                                std::string_view advertised = {},
                                                ServerLimits limits = {});
  virtual ~Server() = default;
  virtual const std::string& address() const = 0;
  /// The open connections, in no order.
  virtual io::Task<std::vector<ConnectionInfo>> connections() = 0;
  /// Stops accepting, answers requests under way within `grace`, closes.
  virtual io::Task<void> close(std::chrono::milliseconds grace) = 0;
};

}  // namespace millrace::kafka

#include "app/node.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "app/host.h"
#include "app/http_functions.h"
#include "app/version.h"
#include "base/io/env.h"
#include "base/logging.h"
#include "broker/group_configs.h"
#include "broker/groups.h"
#include "broker/pipelines.h"
#include "broker/quotas.h"
#include "broker/share_groups.h"
#include "broker/transactions.h"
#include "broker/transforms.h"
#include "catalog/catalog.h"
#include "connect/connectors.h"
#include "flow/flows.h"
#include "http/server.h"
#include "kafka/server.h"
#include "pgwire/server.h"
#include "sql/engine.h"
#include "sql/temporary_view.h"
#include "table/tables.h"

namespace millrace::app {

namespace {

constexpr auto kGrace = std::chrono::seconds(5);
/// The part of the memory that the states of pipelines' aggregates may take.
constexpr size_t kStatesShare = 8;
/// The part of the memory that requests and answers on their way may take.
constexpr size_t kWireShare = 8;

/// One node a folder: an flock on DIR/lock, which ends with the process however it ends.
class FolderLock {
 public:
  static Result<FolderLock> take(const std::string& folder) {
    std::error_code failure;
    std::filesystem::create_directories(folder, failure);
    std::string path = folder + "/lock";
    int fd = failure ? -1 : open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
      return Error{ErrorCode::kIo, fmt::format("cannot use the data folder {}: {}", folder,
                                               failure ? failure.message() : std::strerror(errno))};
    }
    FolderLock lock(fd);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
      std::string holder;
      std::ifstream(path) >> holder;
      return Error{ErrorCode::kDataFolderInUse,
                   fmt::format("process {} runs on the data folder {}", holder, folder),
                   std::nullopt, "stop it first, or choose another folder with --data"};
    }
    std::string pid = std::to_string(getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid.data(), pid.size(), 0) < 0)
      return Error{ErrorCode::kIo, "cannot write " + path};
    return lock;
  }
  FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~FolderLock() {
    if (fd_ >= 0) close(fd_);
  }

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_;
};

/// Objects in an order in which each comes after what it reads.
std::vector<const catalog::Object*> in_dependency_order(const catalog::Snapshot& snapshot) {
  std::vector<const catalog::Object*> ordered;
  auto placed = [&](std::string_view name) {
    return std::ranges::any_of(ordered, [&](const auto* o) { return o->name == name; });
  };
  auto waiting = snapshot.list();
  while (!waiting.empty()) {
    std::vector<const catalog::Object*> later;
    for (const auto* object : waiting) {
      bool ready = std::ranges::all_of(object->depends_on, [&](const auto& name) {
        return placed(name) || !snapshot.find(name);
      });
      (ready ? ordered : later).push_back(object);
    }
    MR_CHECK(later.size() < waiting.size());  // a view reads only what existed before it: no cycles
    waiting = std::move(later);
  }
  return ordered;
}

}  // namespace

struct Node::Parts {
  NodeOptions options;
  NodeFile file;
  std::optional<FolderLock> lock;
  std::unique_ptr<io::Env> env;
  std::unique_ptr<io::Runtime> runtime;
  std::unique_ptr<catalog::Catalog> catalog;
  std::unique_ptr<broker::Broker> broker;
  std::unique_ptr<broker::Transforms> transforms;
  std::unique_ptr<broker::Groups> groups;
  std::unique_ptr<broker::Transactions> transactions;
  std::unique_ptr<broker::Pipelines> pipelines;
  std::unique_ptr<broker::ShareGroups> share_groups;
  std::unique_ptr<broker::Quotas> quotas;
  std::unique_ptr<broker::GroupConfigs> group_configs;
  std::unique_ptr<sql::Engine> engine;
  std::unique_ptr<table::Tables> tables;
  std::unique_ptr<flow::Flows> flows;
  std::unique_ptr<connect::Connectors> connectors;
  std::unique_ptr<NodeHost> host;
  std::unique_ptr<kafka::Server> kafka;
  std::unique_ptr<pgwire::Server> pg;
  std::unique_ptr<http::Functions> functions;
  std::unique_ptr<http::Server> http;
  bool stopped = false;

  Result<> open_state();
  Result<> open_coordinators();
  Result<> serve_objects();
  Result<> listen();
  Result<std::unique_ptr<pgwire::Server>> listen_pg();
};

Result<> Node::Parts::open_state() {
  env = io::make_real_env();
  runtime = std::make_unique<io::Runtime>(options.cores, options.cores * 2);
  auto& shard = runtime->shard(0);
  std::string logs = std::filesystem::absolute(options.data).lexically_normal().string() + "/log";
  auto opened_catalog = shard.block_on(catalog::Catalog::open(*env, shard, logs));
  if (!opened_catalog) return std::move(opened_catalog).error();
  catalog = std::move(*opened_catalog);
  broker::Broker::Options broker_options;
  broker_options.path = logs;
  broker_options.auto_create_topics = options.auto_create_topics;
  auto opened_broker =
      shard.block_on(broker::Broker::open(*runtime, *env, *catalog, broker_options));
  if (!opened_broker) return std::move(opened_broker).error();
  broker = std::move(*opened_broker);
  broker::Transforms::Options guests;
  guests.path = std::filesystem::absolute(options.data).lexically_normal().string() + "/modules";
  guests.lanes = options.cores + 1;
  MR_TRY(transforms, broker::Transforms::open(*runtime, *env, *catalog, *broker, guests));
  broker->set_transforms(transforms.get());
  // Half of the memory is the queries'; rows of tables and views, and what is in flight, have the
  // rest.
  sql::Engine::Options engine_options{.threads = options.cores,
                                      .memory_bytes = options.memory_bytes / 2};
  MR_TRY(engine, sql::Engine::open(*runtime, *env, *catalog, *broker, engine_options));
  broker->set_produce_check(&engine->produce_check());
  return {};
}

Result<> Node::Parts::open_coordinators() {
  auto& shard = runtime->shard(0);
  MR_TRY(quotas, shard.block_on(broker::Quotas::open(*runtime, *env, *broker)));
  MR_TRY(group_configs, shard.block_on(broker::GroupConfigs::open(*runtime, *env, *broker)));
  MR_TRY(groups, shard.block_on(broker::Groups::open(*runtime, *env, *broker)));
  MR_TRY(transactions,
         shard.block_on(broker::Transactions::open(*runtime, *env, *broker, *groups)));
  MR_TRY(share_groups,
         shard.block_on(broker::ShareGroups::open(*runtime, *env, *broker, *group_configs)));
  MR_TRY(pipelines,
         broker::Pipelines::open({*runtime, *env, *catalog, *broker, *transactions, *transforms},
                                 {.state_bytes_max = options.memory_bytes / kStatesShare}));
  transforms->set_pipelines(pipelines.get());
  return {};
}

Result<> Node::Parts::serve_objects() {
  tables = table::Tables::make(*runtime, *env, *broker);
  flow::Flows::Options flow_options;
  flow_options.lanes = options.cores;
  // Half of it is in every change's latency; with less, epochs cost more than they gain (bench/).
  flow_options.epoch_interval = std::chrono::milliseconds(2);
  flow_options.state_bytes_max = options.memory_bytes / 2;
  flow_options.resident_bytes_max = options.memory_bytes / 4 * 3;
  flow_options.spill_folder =
      std::filesystem::absolute(options.data).lexically_normal().string() + "/spill";
  flows = flow::Flows::make(*runtime, *env, *broker, *engine, flow_options);
  const auto connections = [this] {
    return kafka ? runtime->shard(0).block_on(kafka->connections())
                 : std::vector<kafka::ConnectionInfo>();
  };
  connectors = connect::Connectors::make({*runtime, *env, *broker, *groups, *transactions});
  SystemSources sources{runtime->shard(0), *broker,     *groups,    *transactions,
                        *share_groups,     *quotas,     *flows,     *catalog,
                        *transforms,       *connectors, *pipelines, connections};
  host = std::make_unique<NodeHost>(*tables, *flows, sources);
  engine->set_host(host.get());
  auto snapshot = catalog->snapshot();
  for (const auto* object : in_dependency_order(*snapshot)) {
    if (sql::is_temporary_view(*object)) {  // its subscription ended with the process
      MR_TRY(runtime->shard(0).block_on(broker->drop(object->name)));
      continue;
    }
    auto served = host->created(*object);
    // One view that cannot be served must not keep the others from their users.
    if (!served)
      logging::error("cannot serve", {{"object", object->name}, {"reason", served.error().text}});
  }
  return {};
}

Result<std::unique_ptr<pgwire::Server>> Node::Parts::listen_pg() {
  auto server = pgwire::Server::listen(*runtime, *env, *engine, options.pg, catalog.get());
  if (server || !options.pg_fallback) return server;
  logging::info("PostgreSQL address is taken, using the next port", {{"address", options.pg}});
  return pgwire::Server::listen(*runtime, *env, *engine, kFallbackPg, catalog.get());
}

Result<> Node::Parts::listen() {
  MR_TRY(kafka, kafka::Server::listen(
                    *runtime, *env, *broker,
                    {*groups, *transactions, *share_groups, *quotas, *group_configs, *catalog},
                    options.kafka, options.kafka_advertised,
                    {.memory_bytes = options.memory_bytes / kWireShare,
                     .connections_max = options.kafka_connections_max,
                     .idle = options.kafka_idle}));
  MR_TRY(pg, listen_pg());
  http::Server::Options http_options;
  http_options.health = [] { return Result<>(); };
  http_options.subscribe = [this](const std::string& view, sql::SubscribeOptions how) {
    return host->subscribe(view, *catalog->snapshot(), std::move(how));
  };
  http_options.ingest = [this](const std::string& source, std::string_view body) {
    return connectors->feed(source, body);
  };
  functions = functions_over_http(*catalog, *transforms, *engine);
  http_options.functions = functions.get();
  MR_TRY(http, http::Server::listen(*runtime, *env, options.http, std::move(http_options)));
  file = NodeFile{getpid(), kVersion, kafka->address(), pg->address(), http->address()};
  return write_node_file(options.data, file);
}

Node::Node(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Node::~Node() {
  if (auto stopped = stop(); !stopped)
    logging::error("stop failed", {{"reason", stopped.error().text}});
}

Result<std::unique_ptr<Node>> Node::start(const NodeOptions& options) {
  std::unique_ptr<Node> node(new Node(std::make_unique<Parts>()));
  auto& parts = *node->parts_;
  parts.options = options;
  auto lock = FolderLock::take(options.data);
  if (!lock) return std::move(lock).error();
  parts.lock.emplace(std::move(*lock));
  MR_TRY(parts.open_state());
  MR_TRY(parts.open_coordinators());
  MR_TRY(parts.serve_objects());
  MR_TRY(parts.listen());
  return node;
}

const NodeFile& Node::addresses() const { return parts_->file; }

Result<> Node::stop() {
  auto& p = *parts_;
  if (std::exchange(p.stopped, true)) return {};
  if (p.lock) remove_node_file(p.options.data);
  Result<> outcome;
  auto keep_first = [&](Result<> result) {
    if (!result && outcome) outcome = std::move(result);
  };
  if (p.http) p.runtime->shard(0).block_on(p.http->close(kGrace));
  if (p.pg) p.runtime->shard(0).block_on(p.pg->close(kGrace));
  if (p.kafka) p.runtime->shard(0).block_on(p.kafka->close(kGrace));
  if (p.connectors) p.connectors->stop();
  if (p.pipelines) p.pipelines->close();
  if (p.share_groups) p.runtime->shard(0).block_on(p.share_groups->close());
  if (p.transactions) p.runtime->shard(0).block_on(p.transactions->close());
  if (p.groups) p.runtime->shard(0).block_on(p.groups->close());
  if (p.quotas) p.runtime->shard(0).block_on(p.quotas->close());
  if (p.flows) p.flows->stop();
  if (p.tables) p.tables->stop();
  if (p.broker) keep_first(p.runtime->shard(0).block_on(p.broker->close()));
  if (p.catalog) keep_first(p.runtime->shard(0).block_on(p.catalog->close()));
  return outcome;
}

}  // namespace millrace::app

#pragma once

#include <functional>
#include <vector>

#include "broker/groups.h"
#include "broker/pipelines.h"
#include "broker/quotas.h"
#include "broker/share_groups.h"
#include "broker/transactions.h"
#include "broker/transforms.h"
#include "connect/connectors.h"
#include "flow/flows.h"
#include "kafka/server.h"
#include "sql/relation.h"

namespace millrace::app {

/// What the system tables show. All of it outlives them.
struct SystemSources {
  io::Shard& shard;  // to wait on
  broker::Broker& broker;
  broker::Groups& groups;
  broker::Transactions& transactions;
  broker::ShareGroups& share_groups;
  broker::Quotas& quotas;
  flow::Flows& flows;
  catalog::Catalog& catalog;
  broker::Transforms& transforms;
  connect::Connectors& connectors;
  broker::Pipelines& pipelines;
  std::function<std::vector<kafka::ConnectionInfo>()> connections;
};

/// millrace.topics, .partitions, .groups, .members, .offsets, .transactions, .connections, .quotas,
/// .late: docs/sql.md lists their columns.
std::vector<sql::SystemTable> system_tables(SystemSources sources);
/// Those of guest code: millrace.functions, .transforms, .module_logs.
std::vector<sql::SystemTable> transform_tables(SystemSources sources);
/// Those of connectors: millrace.sources, .sinks.
std::vector<sql::SystemTable> connector_tables(SystemSources sources);

}  // namespace millrace::app

#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "kafka/server.h"

namespace millrace::kafka {

/// What a server has besides its broker, opened on the first shard; for tests.
struct TestCoordinators {
  TestCoordinators(io::Runtime& runtime, io::Env& env, broker::Broker& broker)
      : shard(runtime.shard(0)),
        groups(*shard.block_on(broker::Groups::open(runtime, env, broker))),
        transactions(*shard.block_on(broker::Transactions::open(runtime, env, broker, *groups))),
        group_configs(*shard.block_on(broker::GroupConfigs::open(runtime, env, broker))),
        share_groups(
            *shard.block_on(broker::ShareGroups::open(runtime, env, broker, *group_configs))),
        quotas(*shard.block_on(broker::Quotas::open(runtime, env, broker))),
        catalog(*shard.block_on(catalog::Catalog::open(env, shard, "/data/log"))) {}
  /// After the server was closed.
  ~TestCoordinators() {
    shard.block_on(share_groups->close());
    shard.block_on(transactions->close());
    shard.block_on(groups->close());
    shard.block_on(quotas->close());
    EXPECT_TRUE(shard.block_on(catalog->close()));
  }
  TestCoordinators(const TestCoordinators&) = delete;
  TestCoordinators& operator=(const TestCoordinators&) = delete;

  Coordinators all() const {
    return {*groups, *transactions, *share_groups, *quotas, *group_configs, *catalog};
  }

  io::Shard& shard;
  std::unique_ptr<broker::Groups> groups;
  std::unique_ptr<broker::Transactions> transactions;
  std::unique_ptr<broker::GroupConfigs> group_configs;
  std::unique_ptr<broker::ShareGroups> share_groups;
  std::unique_ptr<broker::Quotas> quotas;
  std::unique_ptr<catalog::Catalog> catalog;
};

}  // namespace millrace::kafka

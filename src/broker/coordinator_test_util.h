#pragma once

#include <limits>

#include "broker/broker_test_util.h"
#include "broker/groups.h"
#include "broker/transactions.h"

namespace millrace::broker {

/// A broker with its groups and transactions, which can crash. What else a node has, a test starts
/// in start() and stops in stop(); its constructor and destructor call these.
class CoordinatorTest : public BrokerTest {
 protected:
  virtual void start() {
    auto groups = shard().block_on(Groups::open(runtime_, env_, *broker_));
    ASSERT_TRUE(groups) << groups.error().text;
    groups_ = std::move(*groups);
    auto opened =
        shard().block_on(Transactions::open(runtime_, env_, *broker_, *groups_, options_));
    ASSERT_TRUE(opened) << opened.error().text;
    transactions_ = std::move(*opened);
  }
  virtual void stop() {
    if (transactions_) shard().block_on(transactions_->close());
    transactions_.reset();
    if (groups_) shard().block_on(groups_->close());
    groups_.reset();
  }
  void restart() {
    stop();
    reopen();
    start();
  }
  /// As kill -9 and a machine that lost what it had not synced; see MemoryFiles about `seed`.
  void crash(std::optional<uint64_t> seed = std::nullopt) {
    auto& files = env_.files();
    files.fail_after(0, ErrorCode::kIo, std::numeric_limits<size_t>::max() / 2);
    stop();
    if (broker_) static_cast<void>(shard().block_on(broker_->close()));
    broker_.reset();
    if (catalog_) static_cast<void>(shard().block_on(catalog_->close()));
    catalog_.reset();
    files.heal();
    files.forget_unsynced(seed);
    open();
    start();
  }

  TransactionOptions options_;  // of the next start()
  std::unique_ptr<Groups> groups_;
  std::unique_ptr<Transactions> transactions_;
};

}  // namespace millrace::broker

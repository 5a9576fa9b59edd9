#pragma once

#include <gmock/gmock.h>

#include <condition_variable>
#include <limits>
#include <mutex>

#include "base/io/memory_files.h"
#include "broker/broker.h"
#include "broker/groups.h"
#include "broker/transactions.h"
#include "log/record_batch.h"

namespace millrace::broker {

/// A broker over files in memory, on two shards.
class BrokerTest : public testing::Test {
 protected:
  static constexpr const char* kPath = "/data/log";

  BrokerTest() { open(); }
  ~BrokerTest() override {
    env_.files().heal();
    close();
  }

  io::Shard& shard() { return runtime_.shard(0); }

  void open(std::chrono::milliseconds cleanup_interval = std::chrono::seconds(15)) {
    auto catalog = shard().block_on(catalog::Catalog::open(env_, shard(), kPath));
    ASSERT_TRUE(catalog) << catalog.error().text;
    catalog_ = std::move(*catalog);
    Broker::Options options;
    options.path = kPath;
    options.cleanup_interval = cleanup_interval;
    auto broker = shard().block_on(Broker::open(runtime_, env_, *catalog_, std::move(options)));
    ASSERT_TRUE(broker) << broker.error().text;
    broker_ = std::move(*broker);
  }
  void close() {
    if (broker_) EXPECT_TRUE(shard().block_on(broker_->close()));
    broker_.reset();
    if (catalog_) EXPECT_TRUE(shard().block_on(catalog_->close()));
    catalog_.reset();
  }
  void reopen() {
    close();
    open();
  }

  static catalog::Object topic(std::string name, int32_t partitions = 1) {
    catalog::Object object;
    object.name = std::move(name);
    object.partitions = partitions;
    return object;
  }
  static catalog::Object changelog(std::string name) {
    auto object = topic(std::move(name));
    object.kind = catalog::Kind::kMaterializedView;
    object.columns = {{.name = "a", .type = "BIGINT"}};
    object.query = "SELECT 1 AS a";
    return object;
  }

  Result<std::shared_ptr<const Topic>> create(catalog::Object object, bool replace = false,
                                              bool validate_only = false) {
    return shard().block_on(broker_->create(std::move(object), replace, validate_only));
  }
  Result<> drop(std::string name) { return shard().block_on(broker_->drop(std::move(name))); }

  /// As a producer's connection on the other shard would.
  Result<log::AppendResult> append(Partition& partition, std::string batches,
                                   log::Ack ack = log::Ack::kDurable) {
    return runtime_.shard(1).block_on(partition.append(std::move(batches), ack));
  }
  static std::string batch(std::initializer_list<std::string_view> values,
                           TimestampMs timestamp = 1'700'000'000'000) {
    log::BatchBuilder builder;
    for (auto value : values) builder.add(timestamp, std::nullopt, value);
    return builder.finish();
  }
  /// The values of all records from `from` on.
  std::vector<std::string> values(Partition& partition, Offset from = 0) {
    std::vector<std::string> out;
    auto read = runtime_.shard(1).block_on(partition.read(from, 1 << 20));
    EXPECT_TRUE(read) << read.error().text;
    if (!read) return out;
    EXPECT_TRUE(log::for_each_record(read->batches, false, [&](const log::RecordView& record) {
      out.emplace_back(record.value.value_or("null"));
    }));
    return out;
  }

  io::TestEnv env_;
  io::Runtime runtime_{2, 1};
  std::unique_ptr<catalog::Catalog> catalog_;
  std::unique_ptr<Broker> broker_;
};

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

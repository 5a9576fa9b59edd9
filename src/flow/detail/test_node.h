#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/io/memory_files.h"
#include "broker/broker.h"
#include "catalog/catalog.h"
#include "flow/flows.h"
#include "log/record_batch.h"
#include "sql/engine.h"
#include "table/tables.h"

namespace millrace::flow::testing {

struct TestRecord {
  std::optional<std::string> key;
  std::optional<std::string> value;
  TimestampMs timestamp = 1'000;
};

using TextRows = std::vector<std::vector<std::string>>;

/// What a node is made of from the log up to flow, without wires: everything that a statement
/// needs.
class TestNode : public sql::Host {
 public:
  explicit TestNode(io::TestEnv& env, Flows::Options options = {}) {
    auto& shard = runtime.shard(0);
    catalog = must(shard.block_on(catalog::Catalog::open(env, shard, "/data/log")));
    broker::Broker::Options broker_options;
    broker_options.path = "/data/log";
    broker = must(shard.block_on(broker::Broker::open(runtime, env, *catalog, broker_options)));
    engine = must(sql::Engine::open(runtime, env, *catalog, *broker, {}));
    tables = table::Tables::make(runtime, env, *broker);
    flows = Flows::make(runtime, env, *broker, *engine, options);
    engine->set_host(this);
    auto waiting = catalog->snapshot()->list();
    // Views last, in the order of their names: tests name them so that each comes after what it
    // reads.
    std::ranges::sort(waiting, {}, [](const auto* o) {
      return std::pair(o->kind == catalog::Kind::kMaterializedView, o->name);
    });
    for (const auto* object : waiting) {
      auto served = created(*object);
      if (!served) failures.push_back(object->name + ": " + served.error().text);
    }
  }
  ~TestNode() override {
    session_.reset();
    flows->stop();
    tables->stop();
    auto& shard = runtime.shard(0);
    static_cast<void>(shard.block_on(broker->close()));  // fails on a node that was killed
    static_cast<void>(shard.block_on(catalog->close()));
    flows.reset();
    tables.reset();
    engine.reset();
  }

  std::shared_ptr<sql::Relation> relation(const catalog::Object& object) override {
    if (object.kind == catalog::Kind::kTable) return tables->find(object.name);
    if (object.kind == catalog::Kind::kMaterializedView) return flows->find(object.name);
    return nullptr;
  }
  Result<> check_view(const catalog::Object& view) override { return flows->check(view); }
  Result<> created(const catalog::Object& object) override {
    if (object.kind == catalog::Kind::kTable) return tables->add(object);
    if (object.kind == catalog::Kind::kMaterializedView) return flows->add(object);
    return {};
  }
  Result<> dropping(const catalog::Object& object) override {
    if (object.kind == catalog::Kind::kTable) return tables->remove(object.name);
    if (object.kind == catalog::Kind::kMaterializedView) return flows->remove(object.name);
    return {};
  }

  Result<std::unique_ptr<sql::Subscription>> subscribe(const catalog::Object& object,
                                                       sql::SubscribeOptions options) override {
    return flows->subscribe(object.name, std::move(options));
  }

  /// Rows as text, sorted.
  Result<TextRows> try_run(const std::string& sql) {
    if (!session_) session_ = must(engine->connect("test", "millrace"));
    MR_TRY(auto statement, session_->prepare(sql, {}));
    MR_TRY(auto cursor, session_->execute(*statement, {}));
    TextRows rows;
    for (;;) {
      MR_TRY(auto chunk, cursor->fetch());
      if (!chunk) break;
      for (size_t r = 0; r < chunk->size(); ++r) {
        auto& row = rows.emplace_back();
        for (size_t c = 0; c < chunk->ColumnCount(); ++c)
          row.push_back(chunk->GetValue(c, r).ToString());
      }
    }
    std::ranges::sort(rows);
    return rows;
  }
  TextRows run(const std::string& sql) {
    auto rows = try_run(sql);
    if (rows) return std::move(*rows);
    ADD_FAILURE() << sql << ": " << rows.error().text;
    return {};
  }
  /// The view's rows once it has taken in everything.
  TextRows view(const std::string& name) {
    auto waited = flows->wait_caught_up(name, std::chrono::seconds(60));
    if (!waited) ADD_FAILURE() << name << ": " << waited.error().text;
    return run("SELECT * FROM " + name);
  }

  /// What millrace.views shows of a view; a state of "gone" when there is none.
  ViewStatus status(const std::string& name) {
    for (auto& status : flows->status())
      if (status.name == name) return status;
    ViewStatus none;
    none.state = "gone";
    return none;
  }
  /// Until OR REPLACE has put the new view in the place of the old.
  void await_replacement(const std::string& name) {
    while (status(name).state == "replacing")
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }

  /// Appends one batch and waits for the disk.
  Result<log::AppendResult> produce(const std::string& topic,
                                    const std::vector<TestRecord>& records, size_t partition = 0) {
    log::BatchBuilder batch;
    for (const auto& record : records)
      batch.add(record.timestamp,
                record.key ? std::optional<std::string_view>(*record.key) : std::nullopt,
                record.value ? std::optional<std::string_view>(*record.value) : std::nullopt);
    const auto log = broker->find(topic)->partitions.at(partition);
    return log->shard().block_on(log->append(batch.finish(), log::Ack::kDurable));
  }
  void must_produce(const std::string& topic, const std::vector<TestRecord>& records,
                    size_t partition = 0) {
    const auto appended = produce(topic, records, partition);
    ASSERT_TRUE(appended) << appended.error().text;
  }

  struct Kept {
    Offset offset;
    std::optional<std::string> key, value;
    std::vector<std::pair<std::string, std::string>> headers;
  };
  /// Every record of a partition.
  std::vector<Kept> consume(const std::string& topic, size_t partition = 0) {
    std::vector<Kept> all;
    const auto found = broker->find(topic);
    if (!found) return all;
    auto& log = *found->partitions.at(partition);
    Offset at = log.start_offset();
    while (at < log.high_watermark()) {
      auto read = must(log.shard().block_on(log.read(at, 1u << 20)));
      auto each = [&](const log::RecordView& record) {
        if (record.offset < at) return;
        Kept kept{record.offset, {}, {}, {}};
        if (record.key) kept.key = *record.key;
        if (record.value) kept.value = *record.value;
        for (const auto& h : record.headers) kept.headers.emplace_back(h.key, h.value.value_or(""));
        all.push_back(std::move(kept));
      };
      MR_CHECK(log::for_each_record(read.batches, true, each).has_value());
      at = read.next_offset;
    }
    return all;
  }

  template <typename T>
  static T must(Result<T> result) {
    if (!result) fmt::print(stderr, "{}\n", result.error().text);
    MR_CHECK(result.has_value());
    return std::move(*result);
  }

  io::Runtime runtime{2, 4};
  std::unique_ptr<catalog::Catalog> catalog;
  std::unique_ptr<broker::Broker> broker;
  std::unique_ptr<sql::Engine> engine;
  std::unique_ptr<table::Tables> tables;
  std::unique_ptr<Flows> flows;
  std::vector<std::string> failures;  // of objects that could not be served at the start

 private:
  std::unique_ptr<sql::Session> session_;
};

/// Asks until the answer is what is expected, or for a minute.
inline void expect_soon(TestNode& node, const std::string& query, const TextRows& expected) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  TextRows rows = node.run(query);
  while (rows != expected && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    rows = node.run(query);
  }
  EXPECT_EQ(rows, expected) << query;
}

/// DuckDB alone: what the answer must be.
class Oracle {
 public:
  TextRows run(const std::string& sql) {
    auto result = connection_.Query(sql);
    if (result->HasError()) {
      ADD_FAILURE() << sql << ": " << result->GetError();
      return {};
    }
    TextRows rows;
    for (size_t r = 0; r < result->RowCount(); ++r) {
      auto& row = rows.emplace_back();
      for (size_t c = 0; c < result->ColumnCount(); ++c)
        row.push_back(result->GetValue(c, r).ToString());
    }
    std::ranges::sort(rows);
    return rows;
  }

 private:
  duckdb::DuckDB instance_{nullptr};
  duckdb::Connection connection_{instance_};
};

}  // namespace millrace::flow::testing

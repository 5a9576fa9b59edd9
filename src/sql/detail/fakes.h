#pragma once

#include <gtest/gtest.h>

#include <map>
#include <mutex>

#include "base/io/memory_files.h"
#include "log/record_batch.h"
#include "sql/engine.h"
#include "sql/format.h"

namespace millrace::sql::testing {

/// Objects in a map.
class FakeSnapshot : public catalog::Snapshot {
 public:
  const catalog::Object* find(std::string_view name) const override {
    for (const auto& [key, object] : objects) {
      if (duckdb::StringUtil::CIEquals(key, std::string(name))) return &object;
    }
    return nullptr;
  }
  const catalog::Object* find(const Uuid& id) const override {
    for (const auto& [key, object] : objects) {
      if (object.id == id) return &object;
    }
    return nullptr;
  }
  std::vector<const catalog::Object*> list() const override {
    std::vector<const catalog::Object*> result;
    for (const auto& [key, object] : objects) result.push_back(&object);
    return result;
  }
  std::vector<const catalog::Object*> dependents(std::string_view name) const override {
    std::vector<const catalog::Object*> result;
    for (const auto& [key, object] : objects) {
      for (const auto& read : object.depends_on) {
        if (duckdb::StringUtil::CIEquals(read, std::string(name))) result.push_back(&object);
      }
    }
    return result;
  }
  uint64_t version() const override { return number; }

  std::map<std::string, catalog::Object> objects;
  uint64_t number = 0;
};

/// A catalog that forgets.
class FakeCatalog : public catalog::Catalog {
 public:
  std::shared_ptr<const catalog::Snapshot> snapshot() const override {
    std::lock_guard lock(mutex_);
    return snapshot_;
  }

  Result<catalog::Object> put_now(catalog::Object object, bool replace) {
    std::lock_guard lock(mutex_);
    auto next = std::make_shared<FakeSnapshot>(*snapshot_);
    if (const auto* old = next->find(object.name)) {
      if (!replace) return Error{ErrorCode::kDuplicateObject, object.name + " exists"};
      object.id = old->id;
      object.version = old->version + 1;
      next->objects.erase(old->name);
    } else {
      object.id = Uuid::random();
    }
    next->objects[object.name] = object;
    ++next->number;
    snapshot_ = std::move(next);
    return object;
  }
  Result<> drop_now(const std::string& name) {
    std::lock_guard lock(mutex_);
    auto next = std::make_shared<FakeSnapshot>(*snapshot_);
    if (!next->objects.erase(name)) return Error{ErrorCode::kUndefinedObject, name};
    ++next->number;
    snapshot_ = std::move(next);
    return {};
  }

  io::Task<Result<catalog::Object>> put(catalog::Object object, bool replace) override {
    co_return put_now(std::move(object), replace);
  }
  io::Task<Result<>> drop(std::string name) override { co_return drop_now(name); }
  io::Task<Result<>> drop_user(std::string name) override {
    co_return Error{ErrorCode::kUndefinedObject, name};
  }
  io::Task<Result<>> close() override { co_return Result<>{}; }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const FakeSnapshot> snapshot_ = std::make_shared<FakeSnapshot>();
};

/// A partition whose batches are kept in memory.
class FakePartition : public broker::Partition {
 public:
  FakePartition(io::Shard& shard, std::string topic, int32_t index)
      : shard_(shard), topic_(std::move(topic)), index_(index) {}

  const std::string& topic() const override { return topic_; }
  int32_t index() const override { return index_; }
  io::Shard& shard() override { return shard_; }
  io::Task<Result<log::AppendResult>> append(OwnedBytes batches, log::Ack) override {
    std::lock_guard lock(mutex_);
    log::AppendResult result;
    result.base_offset = next_;
    for (size_t at = 0; at < batches.size();) {
      auto head = log::parse_batch_header(batches.view().substr(at));
      log::patch_batch(batches.data() + at, next_, 0, std::nullopt);
      next_ += head->last_offset_delta + 1;
      batches_.emplace_back(batches.view().substr(at, head->total_bytes()));
      at += head->total_bytes();
    }
    result.next_offset = next_;
    co_return result;
  }
  io::Task<Result<log::ReadResult>> read(Offset from, size_t, log::Isolation) override {
    std::lock_guard lock(mutex_);
    log::ReadResult result;
    result.next_offset = from;
    result.high_watermark = next_;
    ++reads;
    for (const auto& batch : batches_) {
      const auto head = *log::parse_batch_header(batch);
      if (head.last_offset() < from) continue;
      result.batches = batch;
      result.next_offset = head.last_offset() + 1;
      break;
    }
    co_return result;
  }
  io::Task<Result<log::AppendResult>> append_marker(log::TransactionMarker) override {
    co_return Error{ErrorCode::kNotSupported, "no transactions"};
  }
  io::Task<Result<std::vector<log::ProducerEntry>>> producers() override {
    co_return std::vector<log::ProducerEntry>();
  }
  io::Task<bool> wait_past(Offset, std::chrono::steady_clock::time_point, log::Isolation) override {
    co_return false;
  }
  io::Task<Result<log::TimeOffset>> offset_for_time(TimestampMs timestamp) override {
    std::lock_guard lock(mutex_);
    log::TimeOffset found;
    for (const auto& batch : batches_) {
      auto walked = log::for_each_record(batch, false, [&](const log::RecordView& record) {
        if (found.offset < 0 && record.timestamp >= timestamp) {
          found = {record.offset, record.timestamp};
        }
      });
      MR_CHECK(walked.has_value());
    }
    co_return found;
  }
  io::Task<Result<log::TimeOffset>> max_timestamp() override { co_return log::TimeOffset{}; }
  io::Task<Result<>> delete_records(Offset) override { co_return Result<>{}; }
  io::Task<Result<>> truncate_to(Offset) override { co_return Result<>{}; }
  io::Task<Result<>> hold(std::string, std::optional<Offset>) override { co_return Result<>{}; }
  void on_advance(std::string, std::function<void()>) override {}
  Offset start_offset() const override { return 0; }
  Offset last_stable_offset() const override { return high_watermark(); }
  Offset high_watermark() const override {
    std::lock_guard lock(mutex_);
    return next_;
  }
  uint64_t size_bytes() const override { return 0; }

  std::atomic<int> reads = 0;

 private:
  io::Shard& shard_;
  std::string topic_;
  int32_t index_;
  mutable std::mutex mutex_;
  std::vector<std::string> batches_;
  Offset next_ = 0;
};

/// Topics in memory over a FakeCatalog.
class FakeBroker : public broker::Broker {
 public:
  FakeBroker(io::Runtime& runtime, FakeCatalog& catalog) : runtime_(runtime), catalog_(catalog) {}

  std::shared_ptr<const broker::Topic> find(std::string_view name) const override {
    std::lock_guard lock(mutex_);
    for (const auto& [key, topic] : topics_) {
      if (duckdb::StringUtil::CIEquals(key, std::string(name))) return topic;
    }
    return nullptr;
  }
  std::shared_ptr<const broker::Topic> find(const Uuid&) const override { return nullptr; }
  std::vector<std::shared_ptr<const broker::Topic>> list() const override { return {}; }

  io::Task<Result<std::shared_ptr<const broker::Topic>>> create(catalog::Object object,
                                                                bool replace,
                                                                bool validate_only) override {
    if (validate_only) co_return std::shared_ptr<const broker::Topic>();
    auto stored = catalog_.put_now(std::move(object), replace);
    if (!stored) co_return std::move(stored).error();
    std::lock_guard lock(mutex_);
    auto topic = std::make_shared<broker::Topic>();
    topic->object = *stored;
    if (const auto old = topics_.find(stored->name); old != topics_.end()) {
      topic->partitions = old->second->partitions;
    }
    for (auto i = static_cast<int32_t>(topic->partitions.size()); i < stored->partitions; ++i) {
      topic->partitions.push_back(
          std::make_shared<FakePartition>(runtime_.shard(0), stored->name, i));
    }
    topics_[stored->name] = topic;
    co_return std::shared_ptr<const broker::Topic>(topic);
  }
  io::Task<Result<>> drop(std::string name) override {
    {
      std::lock_guard lock(mutex_);
      topics_.erase(name);
    }
    co_return catalog_.drop_now(name);
  }
  io::Task<Result<int64_t>> next_producer_id() override { co_return int64_t{1}; }
  const Options& options() const override { return options_; }
  void set_produce_check(broker::ProduceCheck*) override {}
  void set_transforms(broker::Transforms* transforms) override { transforms_ = transforms; }
  broker::Transforms* transforms() const override { return transforms_; }
  io::Task<Result<>> close() override { co_return Result<>{}; }

 private:
  io::Runtime& runtime_;
  FakeCatalog& catalog_;
  Options options_;
  broker::Transforms* transforms_ = nullptr;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<broker::Topic>> topics_;
};

/// Rows in memory: a DuckDB collection, addressed by position; `changes` are kept as they came.
class FakeRelation : public Relation {
 public:
  explicit FakeRelation(const catalog::Object& object) : object_(object) {
    columns_ = columns_of(object).value();
    std::erase_if(columns_, [](const RelationColumn& c) { return c.hidden; });
  }
  const catalog::Object& object() const override { return object_; }
  const std::vector<RelationColumn>& columns() const override { return columns_; }
  size_t row_count_estimate() const override { return rows.size(); }

  Result<std::unique_ptr<RelationScan>> scan(ScanRequest request) override {
    last_request = request;
    return std::unique_ptr<RelationScan>(std::make_unique<Scan>(rows, request.columns));
  }
  Result<uint64_t> apply(std::vector<Change> changes) override {
    if (fail_next) return *std::exchange(fail_next, std::nullopt);
    uint64_t count = 0;
    for (auto& change : changes) {
      count += apply_one(change);
      applied.push_back(std::move(change));
    }
    return count;
  }

  using Row = std::vector<duckdb::Value>;
  std::map<int64_t, Row> rows;
  std::vector<Change> applied;
  std::optional<ScanRequest> last_request;
  std::optional<Error> fail_next;

 private:
  class Scan : public RelationScan {
   public:
    Scan(std::map<int64_t, Row> rows, std::vector<size_t> columns)
        : rows_(std::move(rows)), columns_(std::move(columns)) {}
    Result<> next(duckdb::DataChunk& out) override {
      std::lock_guard lock(mutex_);
      size_t count = 0;
      while (!rows_.empty() && count < STANDARD_VECTOR_SIZE) {
        auto [id, row] = *rows_.begin();
        rows_.erase(rows_.begin());
        for (size_t i = 0; i < columns_.size(); ++i) {
          out.SetValue(
              i, count,
              columns_[i] == ScanRequest::kRowId ? duckdb::Value::BIGINT(id) : row[columns_[i]]);
        }
        ++count;
      }
      out.SetCardinality(count);
      return {};
    }

   private:
    std::mutex mutex_;
    std::map<int64_t, Row> rows_;
    std::vector<size_t> columns_;
  };

  uint64_t apply_one(Change& change) {
    if (change.kind == Change::Kind::kDelete) {
      for (const auto id : change.row_ids) rows.erase(id);
      return change.row_ids.size();
    }
    size_t at = 0;
    for (auto& chunk : change.rows->Chunks()) {
      for (size_t r = 0; r < chunk.size(); ++r, ++at) {
        if (change.kind == Change::Kind::kUpdate) {
          for (size_t c = 0; c < change.columns.size(); ++c) {
            rows[change.row_ids[at]][change.columns[c]] = chunk.GetValue(c, r);
          }
          continue;
        }
        Row row;
        for (size_t c = 0; c < chunk.ColumnCount(); ++c) row.push_back(chunk.GetValue(c, r));
        insert(change.kind, std::move(row));
      }
    }
    return change.rows->Count();
  }

  void insert(Change::Kind kind, Row row) {
    for (auto& [id, existing] : rows) {
      if (existing[0] != row[0]) continue;
      if (kind == Change::Kind::kUpsert) existing = std::move(row);
      return;
    }
    rows[next_id_++] = std::move(row);
  }

  catalog::Object object_;
  std::vector<RelationColumn> columns_;
  int64_t next_id_ = 100;
};

/// Serves a FakeRelation for every table and materialized view.
/// Gives what a test has put there, then nothing.
class FakeSubscription : public Subscription {
 public:
  explicit FakeSubscription(std::vector<Changes> changes) : changes_(std::move(changes)) {}
  Result<std::optional<Changes>> next() override {
    if (at_ == changes_.size()) return std::optional<Changes>();
    return std::optional(changes_[at_++]);
  }
  void on_changes(std::function<void()>) override {}

 private:
  std::vector<Changes> changes_;
  size_t at_ = 0;
};

class FakeHost : public Host {
 public:
  std::shared_ptr<Relation> relation(const catalog::Object& object) override {
    return table(object.name, object);
  }
  std::shared_ptr<FakeRelation> table(const std::string& name, const catalog::Object& object) {
    std::lock_guard lock(mutex_);
    auto& found = relations[name];
    if (!found || found->object().version != object.version) {
      found = std::make_shared<FakeRelation>(object);
    }
    return found;
  }
  Result<> check_view(const catalog::Object&) override {
    if (refuse) return *refuse;
    return {};
  }
  Result<> check_connector(const catalog::Object&) override {
    if (refuse) return *refuse;
    return {};
  }
  Result<> created(const catalog::Object& object) override {
    calls.push_back("created " + object.name);
    if (fail_created) return *fail_created;
    return {};
  }
  Result<> dropping(const catalog::Object& object) override {
    calls.push_back("dropping " + object.name);
    return {};
  }

  Result<std::unique_ptr<Subscription>> subscribe(const catalog::Object& object,
                                                  SubscribeOptions options) override {
    calls.push_back(fmt::format("subscribe {}{}{} after '{}'", object.name.substr(0, 15),
                                options.snapshot ? " snapshot" : "",
                                options.caught_up ? " caught up" : "", options.token));
    return std::unique_ptr<Subscription>(std::make_unique<FakeSubscription>(changes));
  }

  std::map<std::string, std::shared_ptr<FakeRelation>> relations;
  std::vector<Changes> changes;
  std::vector<std::string> calls;
  std::optional<Error> refuse, fail_created;

 private:
  std::mutex mutex_;
};

/// An engine over fakes.
class EngineTest : public ::testing::Test {
 protected:
  EngineTest() {
    auto opened = Engine::open(runtime, *env, catalog, broker, {});
    MR_CHECK(opened.has_value());
    engine = std::move(*opened);
    engine->set_host(&host);
  }

  void topic(const std::string& name, std::vector<catalog::Column> columns,
             int32_t partitions = 1) {
    catalog::Object object;
    object.kind = catalog::Kind::kTopic;
    object.name = name;
    object.columns = std::move(columns);
    object.partitions = partitions;
    object.options["format"] = object.columns.empty() ? "raw" : "json";
    auto made = runtime.shard(0).block_on(broker.create(object, false, false));
    MR_CHECK(made.has_value());
  }
  void table(const std::string& name, std::vector<catalog::Column> columns,
             std::vector<std::string> key) {
    catalog::Object object;
    object.kind = catalog::Kind::kTable;
    object.name = name;
    object.columns = std::move(columns);
    object.primary_key = std::move(key);
    auto made = runtime.shard(0).block_on(broker.create(object, false, false));
    MR_CHECK(made.has_value());
  }
  void view(const std::string& name, const std::string& query, bool materialized = false) {
    catalog::Object object;
    object.kind = materialized ? catalog::Kind::kMaterializedView : catalog::Kind::kView;
    object.name = name;
    object.query = query;
    MR_CHECK(catalog.put_now(object, false).has_value());
  }

  struct Answer {
    std::vector<std::vector<std::string>> rows;
    std::vector<std::string> names;
    std::string tag;
  };
  /// Runs one statement in `in`, or in the test's own session.
  Result<Answer> try_run(const std::string& sql, std::vector<duckdb::Value> parameters = {},
                         Session* in = nullptr) {
    if (!session) session = engine->connect("ada", "millrace").value();
    auto& used = in ? *in : *session;
    MR_TRY(auto statement, used.prepare(sql, {}));
    Answer answer;
    answer.names = statement->names();
    MR_TRY(auto cursor, used.execute(*statement, std::move(parameters)));
    while (true) {
      MR_TRY(auto chunk, cursor->fetch());
      if (!chunk || (cursor->endless() && chunk->size() == 0)) break;
      for (size_t r = 0; r < chunk->size(); ++r) {
        auto& row = answer.rows.emplace_back();
        for (size_t c = 0; c < chunk->ColumnCount(); ++c) {
          row.push_back(chunk->GetValue(c, r).ToString());
        }
      }
    }
    answer.tag = cursor->tag();
    return answer;
  }
  Answer run(const std::string& sql, std::vector<duckdb::Value> parameters = {}) {
    auto answer = try_run(sql, std::move(parameters));
    if (!answer) {
      ADD_FAILURE() << sql << ": " << answer.error().text;
      return {};
    }
    return std::move(*answer);
  }
  Error error_of(const std::string& sql) {
    auto answer = try_run(sql);
    if (!answer) return answer.error();
    ADD_FAILURE() << sql << " succeeded";
    return {};
  }

  io::Runtime runtime{1, 2};
  std::unique_ptr<io::Env> env = io::make_real_env();
  FakeCatalog catalog;
  FakeBroker broker{runtime, catalog};
  FakeHost host;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<Session> session;
};

}  // namespace millrace::sql::testing

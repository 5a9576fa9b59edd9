#include "table/tables.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "base/io/memory_files.h"
#include "log/record_batch.h"
#include "table/detail/table_log.h"

namespace millrace::table {
namespace {

using duckdb::Value;
using sql::Change;

using Rows = std::vector<std::vector<Value>>;

/// A node's lower half on files in memory, which survive reopen().
class TablesTest : public testing::Test {
 protected:
  void SetUp() override { open(); }
  void TearDown() override { close(); }

  void open() {
    runtime_ = std::make_unique<io::Runtime>(1, 3);
    auto& shard = runtime_->shard(0);
    auto catalog = shard.block_on(catalog::Catalog::open(env_, shard, "/data"));
    ASSERT_TRUE(catalog) << catalog.error().text;
    catalog_ = std::move(*catalog);
    broker::Broker::Options options;
    options.path = "/data";
    auto broker = shard.block_on(broker::Broker::open(*runtime_, env_, *catalog_, options));
    ASSERT_TRUE(broker) << broker.error().text;
    broker_ = std::move(*broker);
    tables_ = Tables::make(*runtime_, env_, *broker_);
    for (const auto* object : catalog_->snapshot()->list()) {
      const auto added = tables_->add(*object);
      ASSERT_TRUE(added) << added.error().text;
    }
  }

  void close() {
    tables_->stop();
    tables_.reset();
    auto& shard = runtime_->shard(0);
    EXPECT_TRUE(shard.block_on(broker_->close()));
    EXPECT_TRUE(shard.block_on(catalog_->close()));
    broker_.reset();
    catalog_.reset();
    runtime_.reset();
  }

  void create(std::vector<catalog::Column> columns, std::vector<std::string> key,
              std::map<std::string, std::string> options = {}) {
    catalog::Object object;
    object.kind = catalog::Kind::kTable;
    object.name = "t";
    object.columns = std::move(columns);
    object.primary_key = std::move(key);
    object.options = std::move(options);
    auto creating = broker_->create(std::move(object), false, false);
    auto topic = runtime_->shard(0).block_on(std::move(creating));
    ASSERT_TRUE(topic) << topic.error().text;
    const auto added = tables_->add((*topic)->object);
    ASSERT_TRUE(added) << added.error().text;
  }
  void create_people() {
    create({{"id", "BIGINT"}, {"name", "VARCHAR", true}, {"tags", "VARCHAR[]"}}, {"id"});
  }

  std::shared_ptr<sql::Relation> table() { return tables_->find("T"); }

  std::shared_ptr<duckdb::ColumnDataCollection> collect(
      const std::vector<duckdb::LogicalType>& types, const Rows& rows) {
    const duckdb::vector<duckdb::LogicalType> t(types.begin(), types.end());
    auto result =
        std::make_shared<duckdb::ColumnDataCollection>(duckdb::Allocator::DefaultAllocator(), t);
    duckdb::DataChunk chunk;
    chunk.Initialize(duckdb::Allocator::DefaultAllocator(), t);
    for (const auto& row : rows) {
      for (size_t i = 0; i < row.size(); ++i) chunk.SetValue(i, chunk.size(), row[i]);
      chunk.SetCardinality(chunk.size() + 1);
      if (chunk.size() == STANDARD_VECTOR_SIZE) {
        result->Append(chunk);
        chunk.Reset();
      }
    }
    if (chunk.size() > 0) result->Append(chunk);
    return result;
  }

  Change insert(const Rows& rows, Change::Kind kind = Change::Kind::kInsert) {
    std::vector<duckdb::LogicalType> types;
    for (const auto& column : table()->columns()) types.push_back(column.type);
    Change change;
    change.kind = kind;
    change.rows = collect(types, rows);
    return change;
  }
  Change update(std::vector<int64_t> row_ids, std::vector<size_t> columns, const Rows& rows) {
    std::vector<duckdb::LogicalType> types;
    for (const size_t column : columns) types.push_back(table()->columns()[column].type);
    Change change;
    change.kind = Change::Kind::kUpdate;
    change.rows = collect(types, rows);
    change.columns = std::move(columns);
    change.row_ids = std::move(row_ids);
    return change;
  }
  Change erase(std::vector<int64_t> row_ids) {
    Change change;
    change.kind = Change::Kind::kDelete;
    change.row_ids = std::move(row_ids);
    return change;
  }
  Result<uint64_t> apply(std::vector<Change> changes) { return table()->apply(std::move(changes)); }
  Result<uint64_t> apply(Change change) {
    std::vector<Change> changes;
    changes.push_back(std::move(change));
    return apply(std::move(changes));
  }

  static std::vector<std::pair<std::string, int64_t>> read(sql::Relation& relation) {
    sql::ScanRequest request;
    duckdb::vector<duckdb::LogicalType> types;
    for (size_t i = 0; i < relation.columns().size(); ++i) {
      request.columns.push_back(i);
      types.push_back(relation.columns()[i].type);
    }
    request.columns.push_back(sql::ScanRequest::kRowId);
    types.push_back(duckdb::LogicalType::BIGINT);
    auto scan = relation.scan(request);
    EXPECT_TRUE(scan);
    return drain(**scan, types);
  }
  static std::vector<std::pair<std::string, int64_t>> drain(
      sql::RelationScan& scan, const duckdb::vector<duckdb::LogicalType>& types) {
    std::vector<std::pair<std::string, int64_t>> rows;
    for (;;) {
      duckdb::DataChunk chunk;
      chunk.Initialize(duckdb::Allocator::DefaultAllocator(), types);
      EXPECT_TRUE(scan.next(chunk));
      if (chunk.size() == 0) break;
      for (size_t row = 0; row < chunk.size(); ++row) {
        std::string text;
        for (size_t i = 0; i + 1 < chunk.ColumnCount(); ++i)
          text += (i > 0 ? "|" : "") + chunk.GetValue(i, row).ToString();
        rows.emplace_back(text, chunk.GetValue(types.size() - 1, row).GetValue<int64_t>());
      }
    }
    std::sort(rows.begin(), rows.end());
    return rows;
  }
  /// The rows, sorted, one a line.
  std::string rows() {
    std::string text;
    for (const auto& [row, id] : read(*table())) text += row + "\n";
    return text;
  }
  int64_t row_id(const std::string& row) {
    for (const auto& [text, id] : read(*table()))
      if (text == row) return id;
    ADD_FAILURE() << "no row " << row;
    return -1;
  }

  /// As a Kafka client would.
  void produce(std::optional<std::string> key, std::optional<std::string> value) {
    log::BatchBuilder builder;
    builder.add(1'700'000'000'000, key, value);
    auto& partition = *broker_->find("t")->partitions[0];
    auto appending = partition.append(builder.finish(), log::Ack::kDurable);
    const auto appended = partition.shard().block_on(std::move(appending));
    ASSERT_TRUE(appended) << appended.error().text;
  }
  void wait_for_rows(const std::string& expected) {
    for (int i = 0; i < 2000 && rows() != expected; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_EQ(rows(), expected);
  }
  Offset high_watermark() { return broker_->find("t")->partitions[0]->high_watermark(); }

  io::TestEnv env_;
  std::unique_ptr<io::Runtime> runtime_;
  std::unique_ptr<catalog::Catalog> catalog_;
  std::unique_ptr<broker::Broker> broker_;
  std::unique_ptr<Tables> tables_;
};

const Value kNull;
const Value kTags = Value::LIST(duckdb::LogicalType::VARCHAR, {Value("x"), Value("y")});

TEST_F(TablesTest, KeepsWhatIsInsertedOverAReopen) {
  create_people();
  const auto count = apply(insert({{1, "Ann", kTags}, {2, "Bob", kNull}}));
  ASSERT_TRUE(count) << count.error().text;
  EXPECT_EQ(*count, 2u);
  EXPECT_EQ(rows(), "1|Ann|[x, y]\n2|Bob|NULL\n");
  close();
  open();
  EXPECT_EQ(rows(), "1|Ann|[x, y]\n2|Bob|NULL\n");
  EXPECT_EQ(table()->row_count_estimate(), 2u);
}

TEST_F(TablesTest, RefusesASecondRowOfAKeyAndChangesNothing) {
  create_people();
  ASSERT_TRUE(apply(insert({{1, "Ann", kNull}})));
  const auto refused = apply(insert({{2, "Bob", kNull}, {1, "Cid", kNull}}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUniqueViolation);
  EXPECT_EQ(refused.error().text, "t has a row with the primary key (id)=(1)");
  const auto twice = apply(insert({{3, "Bob", kNull}, {3, "Cid", kNull}}));
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().code, ErrorCode::kUniqueViolation);
  EXPECT_EQ(rows(), "1|Ann|NULL\n");
  EXPECT_EQ(high_watermark(), 1);
}

TEST_F(TablesTest, RefusesNullWhereItMustNotBe) {
  create_people();
  for (const auto& row : Rows{{1, kNull, kNull}, {kNull, "Ann", kNull}}) {
    const auto refused = apply(insert({row}));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kNotNullViolation);
  }
  EXPECT_EQ(rows(), "");
}

TEST_F(TablesTest, IgnoresOrReplacesOnConflict) {
  create_people();
  ASSERT_TRUE(apply(insert({{1, "Ann", kNull}})));
  EXPECT_EQ(*apply(insert({{1, "Bob", kNull}, {2, "Cid", kNull}, {2, "Dan", kNull}},
                          Change::Kind::kInsertOrIgnore)),
            1u);
  EXPECT_EQ(rows(), "1|Ann|NULL\n2|Cid|NULL\n");
  EXPECT_EQ(*apply(insert({{1, "Eve", kNull}, {3, "Fay", kNull}}, Change::Kind::kUpsert)), 2u);
  EXPECT_EQ(rows(), "1|Eve|NULL\n2|Cid|NULL\n3|Fay|NULL\n");
}

TEST_F(TablesTest, UpdatesAndDeletes) {
  create_people();
  ASSERT_TRUE(apply(insert({{1, "Ann", kNull}, {2, "Bob", kTags}, {3, "Cid", kNull}})));
  EXPECT_EQ(*apply(update({row_id("2|Bob|[x, y]")}, {1}, {{"Bea"}})), 1u);
  EXPECT_EQ(*apply(erase({row_id("1|Ann|NULL"), row_id("3|Cid|NULL")})), 2u);
  EXPECT_EQ(rows(), "2|Bea|[x, y]\n");
  close();
  open();
  EXPECT_EQ(rows(), "2|Bea|[x, y]\n");
}

TEST_F(TablesTest, MovesRowsToOtherKeys) {
  create_people();
  ASSERT_TRUE(apply(insert({{1, "Ann", kNull}, {2, "Bob", kNull}})));
  const auto ann = row_id("1|Ann|NULL"), bob = row_id("2|Bob|NULL");
  ASSERT_TRUE(apply(update({ann, bob}, {0}, {{2}, {3}})));  // SET id = id + 1
  EXPECT_EQ(rows(), "2|Ann|NULL\n3|Bob|NULL\n");
  const auto refused = apply(update({row_id("2|Ann|NULL")}, {0}, {{3}}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUniqueViolation);
  EXPECT_FALSE(apply(update({row_id("2|Ann|NULL")}, {1}, {{kNull}})));
  close();
  open();
  EXPECT_EQ(rows(), "2|Ann|NULL\n3|Bob|NULL\n");
}

TEST_F(TablesTest, AppliesATransactionInOrder) {
  create_people();
  ASSERT_TRUE(apply(insert({{1, "Ann", kNull}, {2, "Bob", kNull}})));
  const auto ann = row_id("1|Ann|NULL"), bob = row_id("2|Bob|NULL");
  std::vector<Change> changes;
  changes.push_back(update({ann}, {1}, {{"Amy"}}));
  changes.push_back(update({ann}, {2}, {{kTags}}));  // of the row as the one before left it
  changes.push_back(erase({bob}));
  changes.push_back(erase({bob}));
  changes.push_back(insert({{2, "Cid", kNull}, {4, "Dan", kNull}}));
  const auto count = apply(std::move(changes));
  ASSERT_TRUE(count) << count.error().text;
  EXPECT_EQ(*count, 5u);
  EXPECT_EQ(rows(), "1|Amy|[x, y]\n2|Cid|NULL\n4|Dan|NULL\n");
}

TEST_F(TablesTest, ChangesARowOnceHoweverOftenItIsNamed) {
  create_people();
  ASSERT_TRUE(apply(insert({{1, "Ann", kNull}})));
  const auto ann = row_id("1|Ann|NULL");
  EXPECT_EQ(*apply(update({ann, ann}, {1}, {{"Amy"}, {"Ada"}})), 1u);
  EXPECT_EQ(rows(), "1|Amy|NULL\n");
}

TEST_F(TablesTest, RefusesToChangeARowThatAnotherSessionChanged) {
  create_people();
  ASSERT_TRUE(apply(insert({{1, "Ann", kNull}})));
  const auto stale = row_id("1|Ann|NULL");
  ASSERT_TRUE(apply(update({stale}, {1}, {{"Amy"}})));
  for (auto change : {update({stale}, {1}, {{"Ada"}}), erase({stale})}) {
    const auto refused = apply(std::move(change));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalidTransaction);
  }
  EXPECT_EQ(rows(), "1|Amy|NULL\n");
}

TEST_F(TablesTest, ScanSeesOneStateWhileOthersWrite) {
  create_people();
  ASSERT_TRUE(apply(insert({{1, "Ann", kNull}, {2, "Bob", kNull}})));
  sql::ScanRequest request;
  request.columns = {1, sql::ScanRequest::kRowId};
  auto scan = table()->scan(request);
  ASSERT_TRUE(scan);
  ASSERT_TRUE(apply(erase({row_id("1|Ann|NULL")})));
  ASSERT_TRUE(apply(insert({{3, "Cid", kNull}})));
  const auto seen = drain(**scan, {duckdb::LogicalType::VARCHAR, duckdb::LogicalType::BIGINT});
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].first, "Ann");
  EXPECT_EQ(seen[1].first, "Bob");
}

TEST_F(TablesTest, FollowsWhatKafkaClientsWrite) {
  create_people();
  ASSERT_TRUE(apply(insert({{1, "Ann", kNull}, {2, "Bob", kNull}})));
  produce("[2]", std::nullopt);
  produce("[1]", R"({"id":1,"name":"Amy"})");
  produce("[ 1.0 ]", R"({"id":1,"name":"Ada","tags":["z"],"unknown":0})");  // the last one wins
  wait_for_rows("1|Ada|[z]\n");
  close();
  open();
  EXPECT_EQ(rows(), "1|Ada|[z]\n");
}

TEST_F(TablesTest, PassesOverRecordsThatAreNoRows) {
  create_people();
  produce("[1]", "{not json");
  produce("[1]", R"({"id":1})");        // no name
  produce("[1]", R"({"name":"Ann"})");  // no key
  produce("x", std::nullopt);
  produce(std::nullopt, std::nullopt);
  produce("[5]", R"({"id":5,"name":"Eve"})");
  wait_for_rows("5|Eve|NULL\n");
  EXPECT_EQ(env_.metrics()
                .counter("millrace_table_bad_records_total",
                         "Records of a table's log that are no rows of it", {{"table", "t"}})
                .value(),
            5);
  ASSERT_TRUE(apply(insert({{1, "Ann", kNull}})));
}

TEST_F(TablesTest, TakesManyRowsAtOnceInSeveralBatches) {
  create_people();
  Rows many;
  for (int i = 0; i < 30'000; ++i)
    many.push_back({i, "a name of some length, so that it adds up", kNull});
  const auto count = apply(insert(many));
  ASSERT_TRUE(count) << count.error().text;
  EXPECT_EQ(*count, 30'000u);
  EXPECT_EQ(high_watermark(), 30'000);
  EXPECT_EQ(read(*table()).size(), 30'000u);
  close();
  open();
  EXPECT_EQ(read(*table()).size(), 30'000u);
  std::vector<int64_t> row_ids;
  for (const auto& [row, id] : read(*table())) row_ids.push_back(id);
  EXPECT_EQ(*apply(erase(row_ids)), 30'000u);
  EXPECT_EQ(rows(), "");
}

TEST_F(TablesTest, TakesBackATransactionThatACrashTore) {
  create_people();
  ASSERT_TRUE(apply(insert({{1, "Ann", kNull}})));
  TransactionWriter writer(300, 1'700'000'000'000);
  for (int i = 2; i < 10; ++i)
    writer.add("[" + std::to_string(i) + "]",
               R"({"id":)" + std::to_string(i) + R"(,"name":"a name of some length"})");
  const std::string batches = writer.finish();
  const auto first = log::parse_batch_header(batches);
  ASSERT_TRUE(first);
  ASSERT_LT(first->total_bytes(), batches.size());
  auto& partition = *broker_->find("t")->partitions[0];
  auto appending = partition.append(batches.substr(0, first->total_bytes()), log::Ack::kDurable);
  ASSERT_TRUE(partition.shard().block_on(std::move(appending)));
  close();
  open();
  EXPECT_EQ(rows(), "1|Ann|NULL\n");
  EXPECT_EQ(high_watermark(), 1);
  ASSERT_TRUE(apply(insert({{2, "Bob", kNull}})));
  EXPECT_EQ(rows(), "1|Ann|NULL\n2|Bob|NULL\n");
}

TEST_F(TablesTest, WritesAtomicallyBesideKafkaClients) {
  create_people();
  std::thread client([&] {
    for (int i = 0; i < 50; ++i) produce("[7]", R"({"id":7,"name":"n)" + std::to_string(i) + "\"}");
  });
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(apply(insert({{100 + i, "x", kNull}})));
  client.join();
  std::string expected;
  for (int i = 0; i < 50; ++i) expected += std::to_string(100 + i) + "|x|NULL\n";
  wait_for_rows(expected + "7|n49|NULL\n");
}

TEST_F(TablesTest, KeepsTablesWithoutAPrimaryKey) {
  create({{"a", "INTEGER"}}, {});
  ASSERT_TRUE(apply(insert({{1}, {1}, {2}})));
  EXPECT_EQ(rows(), "1\n1\n2\n");
  ASSERT_TRUE(apply(update({row_id("2")}, {0}, {{3}})));
  ASSERT_TRUE(apply(erase({row_id("1")})));
  EXPECT_EQ(rows(), "1\n3\n");
  close();
  open();
  EXPECT_EQ(rows(), "1\n3\n");
}

TEST_F(TablesTest, KeysOfSeveralColumnsAndTypes) {
  create({{"v", "DOUBLE"}, {"at", "TIMESTAMPTZ"}, {"d", "DOUBLE"}}, {"at", "d"});
  const auto at = Value::TIMESTAMPTZ(duckdb::timestamp_tz_t(1'000'000));
  ASSERT_TRUE(apply(insert({{1.5, at, 0.0}})));
  EXPECT_FALSE(apply(insert({{2.5, at, -0.0}})));
  ASSERT_TRUE(apply(insert({{2.5, at, 0.25}})));
  ASSERT_TRUE(apply(erase({row_id("1.5|1970-01-01 00:00:01+00|0.0")})));
  EXPECT_EQ(rows(), "2.5|1970-01-01 00:00:01+00|0.25\n");
  close();
  open();
  EXPECT_EQ(rows(), "2.5|1970-01-01 00:00:01+00|0.25\n");
}

TEST_F(TablesTest, KeepsRowsWhoseRecordsWereDeletedFromTheLog) {
  create_people();
  ASSERT_TRUE(apply(insert({{1, "Ann", kNull}})));
  auto& partition = *broker_->find("t")->partitions[0];
  auto deleting = partition.delete_records(1);
  ASSERT_TRUE(partition.shard().block_on(std::move(deleting)));
  ASSERT_TRUE(apply(insert({{2, "Bob", kNull}})));
  EXPECT_EQ(rows(), "1|Ann|NULL\n2|Bob|NULL\n");
}

TEST_F(TablesTest, RefusesWritesOnceItIsStopped) {
  create_people();
  const auto relation = table();
  ASSERT_TRUE(tables_->remove("t"));
  EXPECT_EQ(table(), nullptr);
  std::vector<Change> none;
  EXPECT_EQ(relation->apply(std::move(none)).error().code, ErrorCode::kShuttingDown);
}

}  // namespace
}  // namespace millrace::table

#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "sql/format.h"
#include "sql/record_key.h"
#include "sql/relation.h"
#include "table/detail/write_plan.h"
#include "table/row_key.h"
#include "table/row_store.h"

namespace millrace::table {

/// One table: its log folded into rows by primary key. A write plans against the rows, appends one
/// transaction to the log, and folds what it appended; what Kafka clients append is folded in the
/// background. Threads that are not shards.
class Table final : public sql::Relation, public std::enable_shared_from_this<Table> {
 public:
  /// Errors: kUndefinedObject (no such log), and of the columns.
  static Result<std::shared_ptr<Table>> make(io::Runtime& runtime, io::Env& env,
                                             broker::Broker& broker, catalog::Object object);
  struct Parts;
  explicit Table(Parts parts);

  /// Folds all of the log, and cuts off a transaction that a crash has torn.
  Result<> replay();
  /// Folds what comes, until stop().
  void follow();
  /// Nothing of this runs in the background when it returns; writes are refused from now on.
  void stop();

  const catalog::Object& object() const override { return layout_.object; }
  const std::vector<sql::RelationColumn>& columns() const override { return layout_.columns; }
  size_t row_count_estimate() const override { return rows_.size(); }
  Result<std::unique_ptr<sql::RelationScan>> scan(sql::ScanRequest request) override;
  Result<uint64_t> apply(std::vector<sql::Change> changes) override;

 private:
  void schedule();
  Result<> cut_torn_transaction();
  // Under write_mutex_:
  Result<> catch_up();
  Result<> fold(std::string_view batches);
  Result<> append(std::string batches);
  // And under state_mutex_:
  void fold_chunk(duckdb::DataChunk& chunk, std::vector<std::string>& reasons);
  Result<std::string> key_of_tombstone(duckdb::DataChunk& chunk, size_t row);
  void forget(std::string_view key);

  io::Runtime& runtime_;
  io::Env& env_;
  Layout layout_;
  std::shared_ptr<const broker::Topic> topic_;
  broker::Partition& partition_;  // the topic's only one
  size_t batch_bytes_max_;
  std::unique_ptr<sql::Decoder> decoder_;
  std::unique_ptr<sql::RecordKeyReader> key_reader_;
  Metrics::Counter& bad_records_;
  Metrics::Gauge& row_count_;
  Metrics::Gauge& row_bytes_;
  const std::string listener_;  // what the partition knows this one by

  std::mutex write_mutex_;  // one writer at a time: a write, or the background's fold
  RowKeys keys_;
  duckdb::DataChunk chunk_;
  Offset folded_ = 0;  // offsets before it are in the rows

  mutable std::mutex state_mutex_;  // a scan sees none or all of what is folded at once
  RowStore rows_;
  KeyIndex index_;

  std::mutex background_mutex_;
  std::condition_variable background_changed_;
  bool stopped_ = false;
  bool scheduled_ = false;  // a fold stands in the pool's queue
  size_t running_ = 0;      // folds in the pool, waiting or under way
};

}  // namespace millrace::table

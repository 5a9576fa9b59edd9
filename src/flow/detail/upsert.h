#pragma once

#include <duckdb.hpp>

#include <boost/unordered/unordered_flat_map.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "catalog/catalog.h"
#include "flow/detail/delta.h"
#include "flow/detail/row_codec.h"
#include "flow/detail/source.h"
#include "sql/format.h"
#include "sql/record_key.h"
#include "table/row_key.h"

namespace millrace::flow {

class StateReader;
class StateWriter;

/// A table as a dataflow's input: its log says what a key's row is now, and this remembers what it
/// was, so that a change becomes a row less and a row more. One thread.
class UpsertInput {
 public:
  /// `columns` of the table, in the order that the dataflow wants them.
  static Result<std::unique_ptr<UpsertInput>> make(const catalog::Object& table,
                                                   std::vector<size_t> columns);

  /// What it reads of the table's log.
  const std::vector<size_t>& columns() const { return read_columns_; }
  /// Appends the changes that `records` (of columns()) make, in order.
  void apply(const ReadChunk& records, DeltaStream& out);
  size_t memory_bytes() const { return bytes_; }
  void save(StateWriter& out) const;
  /// Into an input that was just made.
  void load(StateReader& in);

 private:
  UpsertInput() = default;
  /// The identity of each record's row; nothing where it names none.
  std::vector<std::optional<std::string>> keys_of(duckdb::DataChunk& rows);
  std::optional<std::string> key_of_tombstone(std::string_view json);
  void put(std::string key, std::string_view row);
  void forget(const std::string& key);
  void flush(DeltaStream& out);

  size_t column_count_ = 0;  // of read_columns_, the first ones are the dataflow's
  std::vector<size_t> read_columns_;
  std::vector<size_t> key_at_;  // the primary key's columns; none: the record's key is the key
  size_t raw_key_at_ = 0;
  size_t tombstone_at_ = 0;
  duckdb::vector<duckdb::LogicalType> key_types_;
  std::unique_ptr<sql::RecordKeyReader> key_reader_;
  std::unique_ptr<RowCodec> codec_;
  table::RowKeys row_keys_;

  boost::unordered_flat_map<std::string, std::shared_ptr<const std::string>> rows_;
  size_t bytes_ = 0;
  std::vector<std::shared_ptr<const std::string>> changed_;
  std::vector<int64_t> weights_;
};

}  // namespace millrace::flow

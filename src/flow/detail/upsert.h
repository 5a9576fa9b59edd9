#pragma once

#include <duckdb.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "catalog/catalog.h"
#include "flow/detail/delta.h"
#include "flow/detail/flat_table.h"
#include "flow/detail/frozen_slab.h"
#include "flow/detail/row_codec.h"
#include "flow/detail/source.h"
#include "sql/format.h"
#include "sql/record_key.h"
#include "table/row_key.h"

namespace millrace::flow {

/// A table as a dataflow's input. Its log says what a key's row is now; this remembers what it was,
/// so that a change becomes a row less and a row more. Or it gives the log as versions, and
/// remembers nothing: a row with weight 1 is its key's from its _timestamp on, one with weight -1,
/// of which the key and the hidden columns alone count, says that the key has none from then on.
/// One thread.
class UpsertInput {
 public:
  enum class Gives { kChanges, kVersions };
  /// `columns` of the table, in the order that the dataflow wants them.
  static Result<std::unique_ptr<UpsertInput>> make(const catalog::Object& table,
                                                   std::vector<size_t> columns,
                                                   Gives gives = Gives::kChanges);

  /// What it reads of the table's log.
  const std::vector<size_t>& columns() const { return read_columns_; }
  /// Appends the changes that `records` (of columns()) make, in order.
  void apply(const ReadChunk& records, DeltaStream& out);
  size_t memory_bytes() const { return slab_.memory_bytes() + rows_.memory_bytes(); }
  /// As Operator's.
  void freeze();
  bool save_some(StateWriter& out, size_t bytes);
  /// Into an input that was just made.
  void load(StateReader& in);

 private:
  /// A row and its key, whose bytes stand behind it in memory.
  struct Row {
    uint32_t key_bytes = 0;
    uint32_t row_bytes = 0;
    const char* bytes() const { return reinterpret_cast<const char*>(this + 1); }
    std::string_view key() const { return {bytes(), key_bytes}; }
    std::string_view row() const { return {bytes() + key_bytes, row_bytes}; }
  };

  UpsertInput() = default;
  void apply_versions(duckdb::DataChunk& rows, DeltaStream& out);
  bool read_tombstone(std::string_view json, duckdb::DataChunk& key);
  /// The identity of each record's row; nothing where it names none.
  std::vector<std::optional<std::string>> keys_of(duckdb::DataChunk& rows);
  std::optional<std::string> key_of_tombstone(std::string_view json);
  void put(std::string_view key, std::string_view row);
  void forget(std::string_view key);
  PieceEntry* find(std::string_view key, uint32_t place) const;
  Row& row_at(const PieceEntry& entry) const { return *static_cast<Row*>(slab_.at(entry.piece)); }
  void take_out(PieceEntry* at);
  static void save(const Row& row, StateWriter& out);
  void release_gone();
  void flush(DeltaStream& out);

  Gives gives_ = Gives::kChanges;
  size_t column_count_ = 0;  // of read_columns_, the first ones are the dataflow's
  std::vector<size_t> read_columns_;
  std::vector<size_t> key_at_;  // the primary key's columns; none: the record's key is the key
  size_t raw_key_at_ = 0;
  size_t tombstone_at_ = 0;
  duckdb::vector<duckdb::LogicalType> key_types_;
  std::unique_ptr<sql::RecordKeyReader> key_reader_;
  std::unique_ptr<RowCodec> codec_;
  table::RowKeys row_keys_;

  Slab slab_;
  FrozenSlab frozen_{slab_};
  bool began_ = true;  // to save
  PieceTable rows_;
  std::vector<const char*> changed_;  // rows to be put out
  std::vector<int64_t> weights_;
  std::vector<Row*> gone_;  // released when they are put out
};

}  // namespace millrace::flow

#pragma once

#include <duckdb.hpp>

#include <boost/unordered/unordered_flat_map.hpp>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "sql/format.h"
#include "sql/relation.h"
#include "table/row_key.h"
#include "table/row_store.h"

namespace millrace::table {

/// Hash and equality by text, so that a view finds a string.
struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
/// From a row's key (row_key.h) to where it stands.
using KeyIndex = boost::unordered_flat_map<std::string, RowStore::Slot, TextHash, std::equal_to<>>;

/// A table as it is kept: its declared columns, and for one without primary key the record's key
/// as one more.
struct Layout {
  catalog::Object object;
  std::vector<sql::RelationColumn> columns;  // the declared ones
  std::vector<duckdb::LogicalType> types;    // of the stored columns
  std::vector<size_t> key_columns;           // stored columns that identify a row
  bool has_primary_key() const { return types.size() == columns.size(); }
  std::vector<duckdb::LogicalType> key_types() const;

  /// Errors: kTypeMismatch, kNotSupported, kUndefinedColumn.
  static Result<Layout> of(catalog::Object object);
};

/// A chunk without rows, for rows of these types.
void initialize(duckdb::DataChunk& chunk, const std::vector<duckdb::LogicalType>& types);

/// What a transaction's changes do to a table: collected and checked against its rows before
/// anything is written. The table stands still meanwhile.
class WritePlan {
 public:
  WritePlan(const Layout& layout, const RowStore& rows, const KeyIndex& index,
            uint64_t random_seed);

  /// Gives the number of rows that it changes. Errors: kUniqueViolation, kNotNullViolation;
  /// kInvalidTransaction when another session changed one of the rows meanwhile.
  Result<uint64_t> add(const sql::Change& change);

  /// The log's batches that make it so; empty when nothing changes. Errors: kNotSupported.
  Result<std::string> encode(size_t batch_bytes_max, TimestampMs timestamp);

 private:
  static constexpr RowStore::Slot kStored = -1;
  /// One key that the transaction touches.
  struct Entry {
    std::string key;
    bool existed = false;
    bool present = false;
    RowStore::Slot row = kStored;  // in new_rows_
  };

  size_t touch(std::string_view key);
  Result<uint64_t> insert(const sql::Change& change);
  Result<uint64_t> update(const sql::Change& change);
  Result<uint64_t> erase(const sql::Change& change);
  Result<bool> put(size_t entry, RowStore::Slot row, sql::Change::Kind kind);
  Result<bool> locate(int64_t row_id, size_t change, duckdb::DataChunk& out);
  void take(std::span<const int64_t> row_ids, duckdb::DataChunk& rows);
  Result<> check_not_null(duckdb::DataChunk& chunk) const;
  Error unique_violation(std::string_view key) const;
  void add_record_keys(duckdb::DataChunk& chunk);

  const Layout& layout_;
  const RowStore& rows_;
  const KeyIndex& index_;
  uint64_t random_;
  RowStore new_rows_;
  RowKeys keys_;
  std::deque<Entry> entries_;  // in the order in which they were touched
  boost::unordered_flat_map<std::string_view, size_t> by_key_;
  /// Rows that the transaction has changed, by the id that they were scanned under.
  struct Taken {
    size_t entry;
    size_t change;
  };
  boost::unordered_flat_map<int64_t, Taken> taken_;
  size_t changes_ = 0;
};

}  // namespace millrace::table

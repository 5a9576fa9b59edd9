#pragma once

#include <duckdb.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::table {

/// Rows (or some of their columns) as bytes that are equal exactly when DuckDB holds the rows for
/// the same group: NULL is NULL, -0.0 is 0.0, every NaN is NaN, 1 month is 30 days. For hash maps.
/// The bytes are this process's own and never stored. One thread at a time; cheap to keep, so that
/// a steady state allocates nothing.
class RowKeys {
 public:
  RowKeys();
  ~RowKeys();
  RowKeys(RowKeys&&) noexcept;
  RowKeys& operator=(RowKeys&&) noexcept;

  /// Encodes `columns` of all rows of `chunk`, in that order, in place of what was held.
  void encode(duckdb::DataChunk& chunk, std::span<const size_t> columns);
  size_t size() const;
  /// Of row `row`; until the next encode().
  std::string_view operator[](size_t row) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The inverse of RowKeys, for rows of these types. A value comes back as one that is equal (0.0
/// for -0.0).
class KeyReader {
 public:
  explicit KeyReader(const std::vector<duckdb::LogicalType>& types);
  ~KeyReader();
  KeyReader(KeyReader&&) noexcept;
  KeyReader& operator=(KeyReader&&) noexcept;

  /// Writes the key's values to row `row` of `out`, into as many columns from `first_column` on.
  /// The vectors are flat. The caller sets the cardinality.
  void read(std::string_view key, duckdb::DataChunk& out, size_t row,
            size_t first_column = 0) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The same for those who have a single row at hand.
std::string encode_key(duckdb::DataChunk& chunk, size_t row, std::span<const size_t> columns);
void encode_keys(duckdb::DataChunk& chunk, std::span<const size_t> columns,
                 std::vector<std::string>& out);
void decode_key(std::string_view key, const std::vector<duckdb::LogicalType>& types,
                duckdb::DataChunk& out, size_t row);

}  // namespace millrace::table

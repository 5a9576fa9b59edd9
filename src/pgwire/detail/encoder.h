#pragma once

#include <duckdb.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace millrace::pgwire::detail {

enum class Format : int16_t { kText = 0, kBinary = 1 };

/// Writes the values of one column, as its wire_type says, straight from the vector.
class ColumnEncoder {
 public:
  ColumnEncoder(const duckdb::LogicalType& type, Format format);
  ColumnEncoder(ColumnEncoder&&) noexcept = default;

  /// The vector must live until the next begin().
  void begin(duckdb::Vector& vector, size_t count);
  /// Appends the value's bytes, without a length; false for NULL, and nothing is appended.
  bool append(size_t row, std::string& out) const;
  Format format() const { return format_; }

 private:
  using Write = void (*)(const ColumnEncoder&, size_t index, std::string& out);
  struct Writers;
  friend struct Writers;

  duckdb::LogicalType type_;
  Format format_;
  Write write_;
  duckdb::UnifiedVectorFormat values_;
  duckdb::Vector* vector_ = nullptr;        // for what is written through duckdb::Value
  std::unique_ptr<ColumnEncoder> element_;  // arrays
  int32_t element_oid_ = 0;
};

/// Writes rows of one result as DataRow messages.
class RowEncoder {
 public:
  /// `formats`: one for each column, or one for all, or none (text).
  RowEncoder(const std::vector<duckdb::LogicalType>& types, const std::vector<Format>& formats);
  /// The chunk must live until the next begin().
  void begin(duckdb::DataChunk& chunk);
  void write(size_t row, std::string& out) const;
  const std::vector<ColumnEncoder>& columns() const { return columns_; }

 private:
  std::vector<ColumnEncoder> columns_;
};

/// Appends int32 length and value; length -1 for NULL.
void put_sized(const ColumnEncoder& column, size_t row, std::string& out);

}  // namespace millrace::pgwire::detail

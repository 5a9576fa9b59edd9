#pragma once

#include <duckdb.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::flow {

/// Rows of one chunk as bytes, back to back. Reused from chunk to chunk.
class EncodedRows {
 public:
  size_t size() const { return offsets_.empty() ? 0 : offsets_.size() - 1; }
  std::string_view operator[](size_t row) const {
    return {bytes_.data() + offsets_[row], offsets_[row + 1] - offsets_[row]};
  }

 private:
  friend class RowCodec;
  std::vector<char> bytes_;
  std::vector<size_t> offsets_;
};

/// Writes rows as self-contained bytes and reads them back, column by column. Layout: one null bit
/// a column; a slot a column (the value, or offset and length of what does not fit a slot); then
/// the long values. Equal rows have equal bytes.
class RowCodec {
 public:
  /// kKey: values that compare equal have equal bytes (0.0 and -0.0, every NaN, 1 month and 30
  /// days). kRow: bits are kept.
  enum class Use { kKey, kRow };
  RowCodec(std::vector<duckdb::LogicalType> types, Use use);

  const std::vector<duckdb::LogicalType>& types() const { return types_; }
  /// Replaces what `out` holds by the first `types().size()` columns of `rows`.
  void encode(const duckdb::DataChunk& rows, EncodedRows& out) const;
  /// Writes `rows` to columns [first_column, first_column + types().size()) of `out`, which are
  /// flat and large enough; the chunk's cardinality is the caller's. A null pointer is a row of
  /// NULLs.
  void decode(std::span<const char* const> rows, duckdb::DataChunk& out,
              size_t first_column = 0) const;

 private:
  struct Column {
    duckdb::PhysicalType physical;
    uint32_t slot;   // offset in the row
    uint32_t width;  // of a fixed value; 0: offset and length stand in the slot
    bool nested;
  };
  void encode_fixed(const Column& column, size_t index, duckdb::UnifiedVectorFormat& values,
                    size_t count, EncodedRows& out) const;
  void decode_column(const Column& column, size_t index, std::span<const char* const> rows,
                     duckdb::Vector& out) const;

  std::vector<duckdb::LogicalType> types_;
  std::vector<Column> columns_;
  uint32_t fixed_bytes_ = 0;
  bool normalize_;
};

}  // namespace millrace::flow

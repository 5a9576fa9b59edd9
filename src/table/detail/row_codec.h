#pragma once

#include <duckdb.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace millrace::table {

/// Rows as compact bytes. A row is a bitmap of what is not NULL, a bit a column from the lowest on,
/// then the values that are there, one after the other:
///   fixed width   its bytes, as in a vector
///   text, blob    length (4 bytes), bytes
///   struct        bitmap of its fields, then them
///   list          count (4 bytes), bitmap of its elements, then them; map: a list of structs
///   array         bitmap of its elements, then them
/// Integers as the machine has them: the bytes never leave the process.
class RowCodec {
 public:
  /// kCanonical: equal values get equal bytes. kExact: a value comes back bit by bit.
  enum class Form { kExact, kCanonical };

  struct Field {
    duckdb::LogicalType type;
    duckdb::PhysicalType physical = duckdb::PhysicalType::INVALID;
    size_t width = 0;         // of a fixed width value, else 0
    size_t array_length = 0;  // of an array
    std::vector<Field> children;
  };

  RowCodec(std::span<const duckdb::LogicalType> types, Form form);

  /// Encoded rows, back to back.
  struct Rows {
    std::vector<char> bytes;
    std::vector<size_t> ends;  // row i is [ends[i], ends[i + 1])
    std::string_view operator[](size_t row) const {
      return {bytes.data() + ends[row], ends[row + 1] - ends[row]};
    }
  };

  /// Encodes `columns` of `chunk` (their types in order as this codec's) in place of `out`.
  void encode(duckdb::DataChunk& chunk, std::span<const size_t> columns, Rows& out) const;
  /// Encodes all columns of one row of `chunk` in place of `out`.
  void encode_row(duckdb::DataChunk& chunk, size_t row, std::vector<char>& out) const;

  static constexpr size_t kSkip = static_cast<size_t>(-1);
  /// Writes field i of `row` to row `at` of `out.data[targets[i]]`, if that is not kSkip.
  void decode(std::string_view row, std::span<const size_t> targets, duckdb::DataChunk& out,
              size_t at) const;

  const std::vector<Field>& fields() const { return fields_; }

 private:
  std::vector<Field> fields_;
  Form form_;
};

}  // namespace millrace::table

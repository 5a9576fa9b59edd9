#pragma once

#include <duckdb.hpp>

#include <memory>
#include <string>
#include <vector>

namespace millrace::flow {

/// Brings a fixed-size value to the one form that all values equal to it share. `width` bytes.
void normalize_fixed(duckdb::PhysicalType type, char* value);

/// Writes values of a nested type (LIST, MAP, STRUCT, ARRAY, UNION) of one vector as bytes: a byte
/// for valid, then the value, its parts in order. Alive no longer than the vector.
class NestedWriter {
 public:
  NestedWriter(duckdb::Vector& values, size_t count, bool normalize);
  void append(size_t row, std::string& out) const;

 private:
  duckdb::Vector values_;
  duckdb::PhysicalType physical_;
  duckdb::UnifiedVectorFormat unified_;
  std::vector<std::unique_ptr<NestedWriter>> children_;
  bool normalize_;
};

/// The inverse: reads one value into row `row` of a flat vector; moves `at` behind it.
void read_nested(const char*& at, duckdb::Vector& out, size_t row);

}  // namespace millrace::flow

#pragma once

#include <duckdb.hpp>

#include <initializer_list>
#include <memory>
#include <vector>

#include "flow/detail/delta.h"
#include "flow/detail/row_codec.h"

namespace millrace::flow {

/// Turns encoded rows into delta chunks: a row is one piece of bytes a codec, side by side. Pieces
/// must stay where they are until flush().
class DeltaBuilder {
 public:
  /// The codecs outlive this.
  explicit DeltaBuilder(std::vector<const RowCodec*> parts);

  /// `pieces`: one a codec; null is NULL in all its columns.
  void add(std::initializer_list<const char*> pieces, int64_t weight, DeltaStream& out);
  void flush(DeltaStream& out);

 private:
  std::vector<const RowCodec*> parts_;
  duckdb::vector<duckdb::LogicalType> types_;
  std::vector<std::vector<const char*>> pieces_;
  std::vector<int64_t> weights_;
};

/// Sums the weights of equal rows and drops those that come to 0, so that no row stands in the
/// stream with both signs. Does nothing where nothing is retracted.
void consolidate(const std::vector<duckdb::LogicalType>& types, DeltaStream& stream);

}  // namespace millrace::flow

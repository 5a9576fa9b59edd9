#pragma once

#include <duckdb.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace millrace::flow {

/// A Z-set chunk: rows, and how many times each is inserted (+) or removed (-). weights.size() ==
/// rows.size(), none is 0. Source: DBSP, Budiu et al., VLDB 2023.
struct Delta {
  duckdb::DataChunk rows;
  std::vector<int64_t> weights;
};

/// What is promised of a column of a stream: no row that comes in a later epoch has a value below
/// `time_us` (microseconds since the epoch, as DuckDB's TIMESTAMP).
struct Frontier {
  size_t column = 0;
  int64_t time_us = 0;
};

/// A row that an expression failed over (a cast, a division), and that is left out for it.
struct RowError {
  std::shared_ptr<const Delta> row;  // this one alone
  std::optional<size_t> child;       // the edge that it came on; none: a pair, of all of them
  std::string reason;
  std::string json = {};  // the row as text; the dataflow fills it
};

/// What one edge of a dataflow carries in one epoch. Chunks hold at most STANDARD_VECTOR_SIZE rows
/// and are shared between readers: a reader never changes them.
struct DeltaStream {
  std::vector<std::shared_ptr<const Delta>> chunks;
  std::vector<Frontier> frontiers;
  std::vector<RowError> errors;  // of the operator that fills the edge

  size_t row_count() const {
    size_t n = 0;
    for (const auto& c : chunks) n += c->weights.size();
    return n;
  }
};

}  // namespace millrace::flow

#pragma once

#include <duckdb.hpp>

#include <cstdint>
#include <memory>
#include <optional>
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

/// What one edge of a dataflow carries in one epoch. Chunks hold at most STANDARD_VECTOR_SIZE rows
/// and are shared between readers: a reader never changes them.
struct DeltaStream {
  std::vector<std::shared_ptr<const Delta>> chunks;
  std::vector<Frontier> frontiers;

  size_t row_count() const {
    size_t n = 0;
    for (const auto& c : chunks) n += c->weights.size();
    return n;
  }
};

}  // namespace millrace::flow

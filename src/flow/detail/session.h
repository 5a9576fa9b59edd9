#pragma once

#include <duckdb.hpp>

#include <cstdint>
#include <memory>
#include <vector>

#include "flow/detail/dataflow.h"
#include "flow/detail/evaluator.h"

namespace millrace::flow {

struct SessionSpec {
  /// One of the two columns that it adds.
  enum class Bound { kStart, kEnd };
  duckdb::vector<duckdb::LogicalType> types;  // of the input
  Expressions keys;
  duckdb::unique_ptr<duckdb::Expression> time;  // TIMESTAMP or TIMESTAMPTZ
  int64_t gap_us = 0;
  std::vector<Bound> bounds;
};

/// The input's columns, then the bounds of the session that each row belongs to: rows of one key
/// that follow each other within the gap. It ends a gap after its last row.
std::unique_ptr<Operator> make_session(duckdb::ClientContext& context, SessionSpec spec);

}  // namespace millrace::flow

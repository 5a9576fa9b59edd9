#pragma once

#include <duckdb.hpp>

#include <duckdb/planner/expression/bound_aggregate_expression.hpp>
#include <optional>
#include <vector>

namespace millrace::flow {

/// An aggregate whose result is that of one or two of its rows, which stand at some rank in an
/// order: the first of an arg_min, the middle of a median.
struct RankedAggregate {
  enum class Pick { kFirst, kMiddle };
  Pick pick = Pick::kFirst;
  std::optional<size_t> by;    // the argument that orders; without: rows stand as they came
  bool descending = false;     // what ties stands as it came all the same
  std::vector<size_t> needed;  // arguments: a row with a NULL in one of them does not count

  /// Nullopt when the aggregate is not one of these.
  static std::optional<RankedAggregate> of(const duckdb::BoundAggregateExpression& bound);
  /// Sort keys of rows, as BLOBs.
  void sort_keys(duckdb::DataChunk& arguments, duckdb::Vector& keys) const;
};

}  // namespace millrace::flow

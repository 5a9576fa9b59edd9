#pragma once

#include <duckdb.hpp>

#include <duckdb/planner/expression/bound_aggregate_expression.hpp>
#include <optional>
#include <vector>

namespace millrace::flow {

/// One quantile of a quantile_cont or quantile_disc.
struct Quantile {
  /// The rows between which it lies, and how far behind the lower one.
  struct Place {
    int64_t lower, upper;
    double fraction;
  };
  /// Among `rows` > 0 rows.
  Place place(int64_t rows) const;

  bool discrete = false;  // always a row
  double share = 0;
  __int128 numerator = 0, denominator = 0;  // of a share that is a DECIMAL, for discrete ones
};

/// An aggregate whose result is that of one or some of its rows, which stand at some rank in an
/// order: the first of an arg_min, the middle of a median.
struct RankedAggregate {
  enum class Pick { kFirst, kMiddle, kQuantiles };
  Pick pick = Pick::kFirst;
  std::optional<size_t> by;    // the argument that orders; without: rows stand as they came
  bool by_weight = false;      // or by how often they are there, the most frequent first
  bool descending = false;     // what ties stands as it came all the same
  std::vector<size_t> needed;  // arguments: a row with a NULL in one of them does not count
  std::vector<Quantile> quantiles;

  /// Nullopt when the aggregate is not one of these.
  static std::optional<RankedAggregate> of(const duckdb::BoundAggregateExpression& bound);
  /// Sort keys of rows, as BLOBs.
  void sort_keys(duckdb::DataChunk& arguments, duckdb::Vector& keys) const;
  /// What DuckDB's function is bound to, so that it gives the quantile this far between two rows.
  duckdb::unique_ptr<duckdb::FunctionData> quantile_between_two(
      const duckdb::BoundAggregateExpression& bound, double fraction) const;

 private:
  bool read_quantiles(const duckdb::BoundAggregateExpression& bound);
};

}  // namespace millrace::flow

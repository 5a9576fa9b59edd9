#pragma once

#include <duckdb.hpp>

#include <duckdb/execution/expression_executor.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "flow/detail/delta.h"

namespace millrace::flow {

using Expressions = duckdb::vector<duckdb::unique_ptr<duckdb::Expression>>;

/// Bound expressions over one chunk (BoundReference to its columns), and DuckDB's executor for
/// them. What DuckDB throws passes through: the dataflow's step turns it into an Error.
class Evaluator {
 public:
  Evaluator(duckdb::ClientContext& context, Expressions expressions);

  size_t size() const { return expressions_.size(); }
  const duckdb::vector<duckdb::LogicalType>& types() const { return types_; }
  const duckdb::Expression& operator[](size_t i) const { return *expressions_[i]; }
  /// `out` is made anew; it may share memory with `in`.
  void evaluate(const duckdb::DataChunk& in, duckdb::DataChunk& out);
  /// Rows for which the one BOOLEAN expression is true. `sel` has room for all.
  size_t select(const duckdb::DataChunk& in, duckdb::SelectionVector& sel);
  /// "a, b + 1"
  std::string describe() const;

 private:
  /// The executor's results may lie in its own intermediate vectors, which its next run overwrites,
  /// and our chunks live longer than that: such a result is copied.
  void detach(size_t i, duckdb::data_ptr_t own, duckdb::DataChunk& out) const;

  Expressions expressions_;
  duckdb::vector<duckdb::LogicalType> types_;
  bool only_references_;
  duckdb::ExpressionExecutor executor_;
};

/// What went wrong over some row, in words. In a handler: throws on when it was no row's fault (out
/// of memory, an error of ours).
std::string reason_of_row(const std::exception& thrown);

/// A row that an expression fails over, and why.
struct RowFailure {
  size_t row;
  std::string reason;
};
/// The rows of `in` over which `evaluate` throws, found by halving. What is no row's fault passes
/// through.
std::vector<RowFailure> failing_rows(const duckdb::DataChunk& in,
                                     const std::function<void(const duckdb::DataChunk&)>& evaluate);
/// Tells `out` of the failures that come with an insertion: a removal only takes back a row that
/// failed before.
void tell_failures(const Delta& in, std::optional<size_t> child,
                   const std::vector<RowFailure>& failures, DeltaStream& out);
/// Calls `evaluate` with the rows of `in` or, where it throws, with those over which it does not,
/// and gives them. The others go to `out` as errors of this edge.
std::shared_ptr<const Delta> evaluate_good(
    std::shared_ptr<const Delta> in, size_t child, DeltaStream& out,
    const std::function<void(const duckdb::DataChunk&)>& evaluate);
/// As Evaluator::select(); rows over which it throws are not selected, and are told.
size_t select_good(Evaluator& condition, const duckdb::DataChunk& in, duckdb::SelectionVector& sel,
                   std::vector<RowFailure>& failures);

/// A chunk of these types with room for at least `rows` rows.
void make_chunk(duckdb::DataChunk& chunk, const duckdb::vector<duckdb::LogicalType>& types,
                size_t rows);
/// Makes `out` the rows `sel[0..count)` of `in`, sharing its memory.
void slice_chunk(const duckdb::DataChunk& in, const duckdb::SelectionVector& sel, size_t count,
                 duckdb::DataChunk& out);

}  // namespace millrace::flow

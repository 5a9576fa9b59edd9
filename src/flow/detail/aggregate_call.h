#pragma once

#include <duckdb.hpp>

#include <duckdb/planner/expression/bound_aggregate_expression.hpp>
#include <duckdb/storage/arena_allocator.hpp>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "flow/detail/evaluator.h"

namespace millrace::flow {

/// One of DuckDB's aggregate functions over states that lie in our own memory.
class AggregateFunction {
 public:
  explicit AggregateFunction(duckdb::unique_ptr<duckdb::Expression> bound);

  const duckdb::BoundAggregateExpression& bound() const {
    return bound_->Cast<duckdb::BoundAggregateExpression>();
  }
  const duckdb::LogicalType& result_type() const { return bound_->return_type; }
  size_t state_bytes() const { return state_bytes_; }  // a multiple of 16
  bool has_destructor() const { return bound().function.HasStateDestructorCallback(); }

  void init(char* state) const;
  /// Adds row i of `arguments` to `*states[i]`.
  void update(std::span<duckdb::Vector> arguments, duckdb::Vector& states, size_t count,
              duckdb::ArenaAllocator& arena) const;
  void combine(duckdb::Vector& from, duckdb::Vector& to, size_t count,
               duckdb::ArenaAllocator& arena) const;
  /// Writes the results to rows [0, count) of `out`. May spoil the states, never frees them.
  void finalize(duckdb::Vector& states, size_t count, duckdb::Vector& out,
                duckdb::ArenaAllocator& arena) const;
  /// The same, as if the function was bound to something else.
  void finalize(duckdb::Vector& states, size_t count, duckdb::Vector& out,
                duckdb::ArenaAllocator& arena, duckdb::FunctionData& bound_to) const;
  void destroy(duckdb::Vector& states, size_t count, duckdb::ArenaAllocator& arena) const;

 private:
  duckdb::AggregateInputData input(duckdb::ArenaAllocator& arena) const;

  duckdb::unique_ptr<duckdb::Expression> bound_;
  size_t state_bytes_;
};

/// States that are there for a moment: destroyed whatever is thrown meanwhile.
class FreshStates {
 public:
  /// They lie in `memory`, which is made as large as they need.
  FreshStates(const AggregateFunction& function, size_t count, duckdb::ArenaAllocator& arena,
              std::vector<char>& memory);
  ~FreshStates() { function_.destroy(pointers_, addresses_.size(), arena_); }
  FreshStates(const FreshStates&) = delete;

  duckdb::Vector& pointers() { return pointers_; }
  std::span<char* const> addresses() const { return addresses_; }

 private:
  const AggregateFunction& function_;
  duckdb::ArenaAllocator& arena_;
  duckdb::Vector pointers_{duckdb::LogicalType::POINTER};
  std::vector<char*> addresses_;
};

/// Whether the function's update may throw over some rows: then its state is no longer known.
bool update_may_fail(const duckdb::BoundAggregateExpression& bound);
/// Whether its sum may leave the 128 bits of a result within a number of rows that can be.
bool sum_may_overflow(const duckdb::BoundAggregateExpression& bound);

/// count, sum and avg of integers and decimals: aggregates from which a row can be taken out again.
/// Exact: the sum is kept in 192 bits, which no number of rows leaves.
class InvertibleAggregate {
 public:
  struct State {
    __int128 sum = 0;
    int64_t count = 0;  // of rows, or of values that are not NULL
    int64_t high = 0;   // 2^128 times it belong to the sum
  };
  enum class Kind { kCountRows, kCountValues, kSum, kAverage };

  /// Nullopt when the aggregate is not one of these.
  static std::optional<InvertibleAggregate> of(const duckdb::BoundAggregateExpression& bound);

  /// Adds row i of `argument` (null: no argument) `weights[i]` times to `*states[i]`.
  void update(duckdb::Vector* argument, std::span<State* const> states,
              std::span<const int64_t> weights) const;
  /// Writes the results to rows [0, states.size()) of `out`; NULL, and told, where a sum leaves 128
  /// bits.
  void finalize(std::span<const State* const> states, duckdb::Vector& out,
                std::vector<RowFailure>& failures) const;

 private:
  Kind kind_;
  duckdb::PhysicalType argument_ = duckdb::PhysicalType::INVALID;
  double scale_ = 1;  // of a decimal's average: ten to the power of its scale
};

}  // namespace millrace::flow

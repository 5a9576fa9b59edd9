#pragma once

#include <duckdb/storage/arena_allocator.hpp>
#include <optional>

#include "flow/detail/aggregate_call.h"
#include "flow/detail/state_stream.h"

namespace millrace::flow {

/// The states of DuckDB's sketches as bytes, exactly: approx_quantile, approx_top_k,
/// reservoir_quantile, and arg_min and arg_max of several. DuckDB has no way to write them down, so
/// this knows how they lie in memory, in one version of it; of another version none is known, and
/// their views have no snapshots.
class SketchState {
 public:
  /// Nullopt when the aggregate is none of these, or DuckDB is another.
  static std::optional<SketchState> of(const AggregateFunction& function);

  void save(const char* state, StateWriter& out) const;
  /// Into a state of `function` that was just made; told of by `in` when that cannot be.
  void load(const AggregateFunction& function, char* state, StateReader& in,
            duckdb::ArenaAllocator& arena) const;

 private:
  enum class Kind { kDigest, kTopK, kReservoir, kHeap };
  SketchState(Kind kind, duckdb::LogicalType argument, duckdb::LogicalType by = {})
      : kind_(kind), argument_(std::move(argument)), by_(std::move(by)) {}

  void save_top_k(const char* state, StateWriter& out) const;
  void save_heap(const char* state, StateWriter& out) const;
  void load_digest(const AggregateFunction& function, char* state, StateReader& in,
                   duckdb::ArenaAllocator& arena) const;
  void load_top_k(const AggregateFunction& function, char* state, StateReader& in,
                  duckdb::ArenaAllocator& arena) const;
  void load_reservoir(const AggregateFunction& function, char* state, StateReader& in,
                      duckdb::ArenaAllocator& arena) const;

  void load_heap(const AggregateFunction& function, char* state, StateReader& in,
                 duckdb::ArenaAllocator& arena) const;

  Kind kind_;
  duckdb::LogicalType argument_;
  duckdb::LogicalType by_;  // of kHeap: what orders
};

}  // namespace millrace::flow

#pragma once

#include <duckdb.hpp>

#include <memory>
#include <vector>

#include "table/row_memory.h"

namespace millrace::table {

/// Rows in memory in a compact binary layout, addressed by slot, with snapshots that cost nothing
/// to hold: rows stand in blocks that are copied before they are changed while a snapshot shares
/// them. One writer; snapshot() from any thread.
class RowStore {
 public:
  /// `memory` may be null.
  explicit RowStore(std::vector<duckdb::LogicalType> types,
                    std::shared_ptr<RowMemory> memory = nullptr);
  ~RowStore();

  using Slot = int64_t;
  /// Adds row `row` of `chunk`; gives its slot, which stays its address until erase();
  /// no later row gets the same (2^31 rows at one place apart).
  Slot insert(duckdb::DataChunk& chunk, size_t row);
  /// Adds all rows of `chunk`; appends their slots to `slots`. Many times faster than one by one.
  void insert(duckdb::DataChunk& chunk, std::vector<Slot>& slots);
  void erase(Slot slot);
  /// Appends the row to `out` (types as the store's).
  void read(Slot slot, duckdb::DataChunk& out) const;
  /// Whether a row stands there. Any value may be asked for.
  bool holds(Slot slot) const;
  size_t size() const;
  size_t memory_bytes() const;

  /// A state that later writes do not change.
  class Snapshot {
   public:
    virtual ~Snapshot() = default;
    virtual size_t size() const = 0;
    /// Fills `out` (empty) with rows of the next blocks; several threads may scan at once.
    /// `columns`: indexes, or SIZE_MAX for the slot as BIGINT. Gives false at the end.
    virtual bool next(const std::vector<size_t>& columns, duckdb::DataChunk& out) = 0;
  };
  std::shared_ptr<Snapshot> snapshot() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::table

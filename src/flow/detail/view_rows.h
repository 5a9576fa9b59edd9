#pragma once

#include <duckdb.hpp>

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "flow/detail/delta.h"
#include "flow/detail/flat_table.h"
#include "flow/detail/row_codec.h"
#include "flow/detail/state_stream.h"
#include "sql/relation.h"
#include "table/row_store.h"

namespace millrace::flow {

/// The end of an epoch in a changelog.
struct ChangelogEnd {
  Offset until = 0;  // after its commit
  uint64_t epoch = 0;
};

/// The rows of a view, each once with the number of times that it stands there. Changed by one
/// thread at a time; scanned by any.
class ViewRows {
 public:
  /// `append_only`: nothing is ever removed, which saves the index.
  ViewRows(std::vector<duckdb::LogicalType> types, bool append_only,
           std::shared_ptr<StateMemory> memory = StateMemory::current());

  /// Applies an epoch's output. Errors: kInternal, when a row is removed that is not there; the
  /// rows are undefined then. `end`: of the epoch in the changelog; nothing when it was not written
  /// there.
  Result<> apply(const DeltaStream& changes, std::optional<ChangelogEnd> end);
  /// They are what the changelog gives up to there.
  void set_end(ChangelogEnd end);
  /// Distinct rows.
  size_t size() const;
  size_t memory_bytes() const;
  /// Rows as they are now, with all of an epoch or nothing of it; `columns` as in ScanRequest.
  std::unique_ptr<sql::RelationScan> scan(std::vector<size_t> columns) const;
  /// The same, and up to where the changelog gives these rows.
  std::unique_ptr<sql::RelationScan> scan(std::vector<size_t> columns, ChangelogEnd* end) const;
  const std::vector<duckdb::LogicalType>& types() const { return types_; }
  /// Writes the rows as they are now, whenever and on whichever thread it is called.
  std::function<void(StateWriter&)> freeze() const;
  /// Takes what was written so, when there are no rows yet.
  Result<> load(StateReader& in);

 private:
  // 128 bits of hash stand for the row itself: that two of 2^40 rows share them has a chance of
  // 2^-49, and the seed is this process's own.
  using RowHash = std::array<uint64_t, 2>;
  struct Entry {
    RowHash hash{};
    table::RowStore::Slot slot = 0;  // kPending: among the rows that wait for insertion
    int64_t weight = 0;

    uint32_t place() const { return static_cast<uint32_t>(hash[0] >> 32); }
    bool is_empty() const { return weight == 0; }
  };
  static constexpr table::RowStore::Slot kPending = -1;

  Result<> apply(const Delta& delta);
  Entry* find(const RowHash& hash) const;
  void insert_pending(duckdb::DataChunk& chunk);

  mutable std::mutex mutex_;  // an epoch is applied, or a snapshot taken
  std::vector<duckdb::LogicalType> types_;
  const bool append_only_;
  const uint64_t seed_;
  RowCodec codec_;
  EncodedRows encoded_;
  std::vector<RowHash> hashes_;  // of encoded_
  ChangelogEnd end_;
  table::RowStore store_;  // the types, then the weight as BIGINT
  FlatTable<Entry> index_;

  // Rows of the chunk at hand that are to be inserted.
  std::vector<uint32_t> pending_rows_;
  std::vector<RowHash> pending_hashes_;
};

}  // namespace millrace::flow

#pragma once

#include <duckdb.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "catalog/catalog.h"
#include "sql/subscription.h"

namespace millrace::sql {

struct RelationColumn {
  std::string name;
  duckdb::LogicalType type;
  bool not_null = false;
  bool hidden =
      false;  // not in SELECT *: _key, _timestamp, _partition, _offset, _headers of a topic
};

/// A half-open range with optional ends.
template <typename T>
struct Range {
  std::optional<T> from;   // inclusive
  std::optional<T> until;  // exclusive
};

/// What a query wants of a relation. `columns` are indexes into Relation::columns(), or kRowId.
struct ScanRequest {
  static constexpr size_t kRowId = static_cast<size_t>(-1);
  std::vector<size_t> columns;
  // Bounds that the query's filters imply; a topic skips what they exclude, others may ignore them.
  // The filters are evaluated again above the scan, so a bound is only ever a promise of what is
  // not needed.
  Range<Offset> offsets;
  Range<TimestampMs> timestamps;
  std::optional<int32_t> partition;
};

/// One scan under way. Several threads may call next() at once.
class RelationScan {
 public:
  virtual ~RelationScan() = default;
  /// Fills `out` (initialised with the asked columns' types, empty) with up to STANDARD_VECTOR_SIZE
  /// rows; leaves it empty at the end.
  virtual Result<> next(duckdb::DataChunk& out) = 0;
};

/// A change that a statement makes; a transaction's changes are applied together.
struct Change {
  enum class Kind { kInsert, kInsertOrIgnore, kUpsert, kUpdate, kDelete };
  Kind kind = Kind::kInsert;
  std::shared_ptr<duckdb::ColumnDataCollection>
      rows;                      // inserts: every visible column, in order; updates: `columns`
  std::vector<size_t> columns;   // updates: which columns `rows` holds
  std::vector<int64_t> row_ids;  // updates and deletes: as scanned through kRowId
};

/// What a SELECT reads: a topic (sql's own), a table (table), a materialized view (flow). Any
/// thread; alive while a query holds it. A scan sees one consistent state of it.
class Relation {
 public:
  virtual ~Relation() = default;
  virtual const catalog::Object& object() const = 0;
  virtual const std::vector<RelationColumn>& columns() const = 0;
  virtual size_t row_count_estimate() const = 0;
  virtual Result<std::unique_ptr<RelationScan>> scan(ScanRequest request) = 0;
  /// Applies all of `changes` or none; durable and visible to the caller's next scan when it
  /// succeeds. Gives the number of rows changed. Errors: kUniqueViolation, kNotNullViolation,
  /// kNotSupported (a view; UPDATE of a topic), and the log's.
  virtual Result<uint64_t> apply(std::vector<Change> changes) = 0;
};

/// A table that shows what the node is doing, read as `millrace.<name>`: its rows are made when it
/// is asked for.
struct SystemTable {
  std::string name;  // one of those in detail/system_tables.cc
  std::vector<RelationColumn> columns;
  /// Rows of values, one for each column and of its type. Called from a pool thread; may block.
  std::function<Result<std::vector<std::vector<duckdb::Value>>>()> rows;
};

/// Where relations that live above sql come from, and who must know when objects come and go. `app`
/// fills it with table and flow. Called from pool threads; may block.
class Host {
 public:
  virtual ~Host() = default;
  /// A table's or materialized view's rows; null when it is not known (yet).
  virtual std::shared_ptr<Relation> relation(const catalog::Object& object) = 0;
  /// Plans a materialized view and refuses what cannot be maintained, before anything is created.
  /// Fills nothing. Errors: kNotSupported with the operator's name and, where known, the position.
  virtual Result<> check_view(const catalog::Object& view) = 0;
  /// Refuses a source or sink that cannot be, before anything is created. Errors: kNotSupported (no
  /// such connector), kInvalidConfig naming the option.
  virtual Result<> check_connector(const catalog::Object& connector) {
    return Error{ErrorCode::kNotSupported,
                 "\"" + connector.name + "\" cannot be: there are no connectors here"};
  }
  /// The object exists in the catalog and broker now: serve it. A view begins to catch up; a
  /// connector that is there already goes on by its new definition.
  virtual Result<> created(const catalog::Object& object) = 0;
  /// The object is about to go: stop using its log and inputs.
  virtual Result<> dropping(const catalog::Object& object) = 0;
  /// Follows a materialized view. Errors: kNotSupported, kUndefinedObject, kInvalidArgument (the
  /// token).
  virtual Result<std::unique_ptr<Subscription>> subscribe(const catalog::Object& object,
                                                          SubscribeOptions) {
    return Error{ErrorCode::kNotSupported, "\"" + object.name + "\" cannot be subscribed to"};
  }
  /// What stands beside sql, as tables.
  virtual std::vector<SystemTable> system_tables() { return {}; }
  /// How a materialized view is kept, for EXPLAIN: its dataflow as text. Errors: kNotSupported.
  virtual Result<std::string> explain(const catalog::Object& object) {
    return Error{ErrorCode::kNotSupported,
                 "the dataflow of \"" + object.name + "\" cannot be shown"};
  }
};

}  // namespace millrace::sql

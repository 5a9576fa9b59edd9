#pragma once

#include <duckdb.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "catalog/catalog.h"
#include "sql/relation.h"

namespace millrace::sql {

/// The columns of a topic or of a table's or view's changelog as SQL sees it: the declared ones,
/// then the hidden ones
/// (_key BLOB, _timestamp TIMESTAMPTZ, _partition INTEGER, _offset BIGINT, _headers MAP(VARCHAR,
/// BLOB)). A topic without declared columns, or of format raw without any, has the one column
/// `value` BLOB.
Result<std::vector<RelationColumn>> columns_of(const catalog::Object& object);

/// A record that does not fit its topic's columns.
struct BadRecord {
  Offset offset = 0;
  TimestampMs timestamp = 0;
  std::optional<std::string> key, value;  // the original bytes
  std::string reason;
};

/// A SQL type as it is declared: any built-in type, JSON, ENUM('a', …), nested. Errors:
/// kTypeMismatch.
Result<duckdb::LogicalType> parse_type(const std::string& sql);

/// A column of a topic or changelog as Decoder::make() takes it: the number of `column` among
/// columns_of(), and in it, at most three levels down, a field of a STRUCT (`fields`: their numbers
/// from the outside in). Fields that are asked for alone are cheaper than the whole. A column whole
/// is its own number. Nothing: too deep, or a number too large.
std::optional<size_t> field_column(size_t column, std::span<const size_t> fields);
/// The inverse.
struct FieldColumn {
  size_t column = 0;
  std::vector<size_t> fields;
};
FieldColumn read_field_column(size_t number);

/// Turns records of one topic into rows. One thread at a time; cheap to keep, dear to make (types,
/// name index).
class Decoder {
 public:
  /// May stand among `columns`: a BOOLEAN that is true for a record without a value (a tombstone).
  static constexpr size_t kTombstone = static_cast<size_t>(-2);

  virtual ~Decoder() = default;
  /// `columns` as in ScanRequest (kRowId gives the offset), kTombstone, or field_column()s. Errors:
  /// kNotSupported (format or type).
  static Result<std::unique_ptr<Decoder>> make(const catalog::Object& topic,
                                               std::vector<size_t> columns);
  virtual const std::vector<duckdb::LogicalType>& types() const = 0;

  /// Decodes the records of `batches` (RecordBatch v2, back to back) with offset in [from, until)
  /// and appends rows to `out`; calls `full(out)` whenever it holds STANDARD_VECTOR_SIZE rows (the
  /// callee takes the rows and resets it). What does not fit goes to `bad` (if given) and yields no
  /// row. A record without a value (a tombstone) yields a row with only the hidden columns (and
  /// kTombstone) set; where a topic's column is NOT NULL, it does not fit. Whether a record fits is
  /// a matter of all declared columns, not of those asked for. Errors: kCorruptRecord.
  virtual Result<> decode(std::string_view batches, int32_t partition, Offset from, Offset until,
                          duckdb::DataChunk& out,
                          const std::function<void(duckdb::DataChunk&)>& full,
                          std::vector<BadRecord>* bad) = 0;
};

/// Writes rows as JSON objects, the inverse of Decoder for format json: to_json(decode(x)) decodes
/// to the same row.
class JsonWriter {
 public:
  virtual ~JsonWriter() = default;
  static Result<std::unique_ptr<JsonWriter>> make(std::vector<std::string> names,
                                                  std::vector<duckdb::LogicalType> types);
  /// Appends one JSON object for row `row` of `chunk` (columns in the order of `names`) to `out`.
  /// Prepare once a chunk.
  virtual void begin(duckdb::DataChunk& chunk) = 0;
  virtual void write(size_t row, std::string& out) = 0;
  /// Appends a JSON array of these columns' values: a table's record key.
  virtual void write_key(const std::vector<size_t>& columns, size_t row, std::string& out) = 0;
};

}  // namespace millrace::sql

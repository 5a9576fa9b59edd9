#pragma once

#include <duckdb.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace::sql {

/// Reads the key of a table's records: a JSON array of the primary key's values, as
/// JsonWriter::write_key() writes it. One thread at a time.
class RecordKeyReader {
 public:
  /// Errors: kNotSupported (type).
  static Result<std::unique_ptr<RecordKeyReader>> make(std::vector<duckdb::LogicalType> types);
  virtual ~RecordKeyReader() = default;
  /// Writes the values to row `row` of `out`, whose columns have these types, in this order; the
  /// caller sets the cardinality. Errors: kInvalidRecord.
  virtual Result<> read(std::string_view key, duckdb::DataChunk& out, size_t row) = 0;
};

}  // namespace millrace::sql

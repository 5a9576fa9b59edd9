#pragma once

#include <duckdb.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sql/detail/json_shape.h"

namespace millrace::sql {

/// Reads JSON objects into rows. A record either fits all declared columns or is bad, whichever of
/// them a query asks for: otherwise what a view counts would depend on what it selects.
class JsonReader {
 public:
  /// A column, or a field inside a STRUCT, that is wanted: `path` holds the fields' numbers from
  /// the outside in (none: the column whole), `target` says which vector of the chunk takes it.
  struct Asked {
    std::vector<size_t> path;
    size_t target = 0;
  };
  struct Column {
    std::string name;
    Shape shape;
    bool not_null = false;
    std::vector<Asked> asked;
  };

  /// Without `plain`, everything goes through the parser: for tests.
  explicit JsonReader(std::vector<Column> columns, bool plain = true);
  ~JsonReader();

  /// Rows go to `out` from now on. To be told again whenever its vectors were made anew or reset.
  void begin(duckdb::DataChunk& out);

  /// Reads `json` into row `row` of `out`. False when it does not fit: reason() says why, and the
  /// row is to be written over. `readable`: how many bytes from json.data() on may be read.
  bool read(std::string_view json, size_t readable, duckdb::DataChunk& out, size_t row);
  /// Sets the columns of a row that has no value to NULL.
  void read_nothing(duckdb::DataChunk& out, size_t row);
  const std::string& reason() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::sql

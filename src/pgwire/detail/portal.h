#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pgwire/detail/machine.h"

namespace millrace::pgwire::detail {

/// A statement as Parse made it, or one of a simple query.
struct Machine::Prepared {
  std::string sql;                            // as the client sent it
  size_t place = 0;                           // of `sql` in the script, in a simple query
  size_t inner = 0;                           // where in `sql` the engine's statement begins
  std::optional<Local> local;                 // ours; with a statement too for DECLARE and COPY
  std::unique_ptr<sql::Statement> statement;  // the engine's
  std::vector<int32_t> oids;                  // of its parameters

  bool is_empty() const { return !local && statement && statement->is_empty(); }
  bool returns_rows() const { return !local && statement && !statement->names().empty(); }
};

/// A statement with its parameters, under way.
struct Machine::Portal {
  PreparedPtr prepared;
  std::vector<duckdb::Value> parameters;
  std::vector<Format> formats;
  bool hold = false;      // outlives its transaction
  bool describe = false;  // the simple protocol describes rows when they come
  bool started = false;
  std::unique_ptr<sql::Cursor> cursor;                     // open while rows may come
  std::string tag;                                         // once the cursor has ended
  std::optional<Error> error;                              // that fetching ahead met
  std::deque<duckdb::unique_ptr<duckdb::DataChunk>> kept;  // fetched, not sent
  size_t kept_bytes = 0;
  size_t row = 0;         // the next one of kept.front()
  bool encoding = false;  // the encoder has begun with kept.front()
  std::optional<RowEncoder> rows;

  void stop() {
    cursor.reset();
    kept.clear();
    encoding = false;
  }
};

}  // namespace millrace::pgwire::detail

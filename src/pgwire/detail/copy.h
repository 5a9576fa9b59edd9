#pragma once

#include <duckdb.hpp>

#include <string>
#include <vector>

#include "pgwire/detail/encoder.h"
#include "pgwire/detail/local.h"

namespace millrace::pgwire::detail {

/// Writes rows as COPY … TO STDOUT sends them: one CopyData message a row.
class CopyWriter {
 public:
  CopyWriter(CopyOptions options, const std::vector<duckdb::LogicalType>& types);
  /// The header line (csv, text) or signature (binary), where there is one.
  void start(const std::vector<std::string>& names, std::string& out) const;
  void begin(duckdb::DataChunk& chunk) { rows_.begin(chunk); }
  void write(size_t row, std::string& out);
  /// The trailer (binary).
  void finish(std::string& out) const;

 private:
  void put_field(std::string_view value, bool first, std::string& out) const;

  CopyOptions options_;
  RowEncoder rows_;
  std::string value_;  // scratch
};

}  // namespace millrace::pgwire::detail

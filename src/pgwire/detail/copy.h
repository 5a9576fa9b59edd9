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
  /// The header line, where there is one.
  void start(const std::vector<std::string>& names, std::string& out) const;
  void begin(duckdb::DataChunk& chunk) { rows_.begin(chunk); }
  void write(size_t row, std::string& out);
  /// The trailer (binary).
  void finish(std::string& out);

 private:
  void put_field(std::string_view value, bool only, std::string& out) const;

  CopyOptions options_;
  RowEncoder rows_;
  void put_signature(std::string& out);

  bool signed_ = false;  // binary: the signature is written
  std::string value_;    // scratch
};

}  // namespace millrace::pgwire::detail

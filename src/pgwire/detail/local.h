#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace millrace::pgwire::detail {

// Statements that PostgreSQL's clients send and that the wire answers itself, because they speak of
// the connection and not of data: settings, cursors, COPY over the wire, the ends of transactions.

struct SetSetting {
  std::string name, value;  // lower case name
  bool to_default = false;
};
struct ShowSetting {
  std::string name;  // as written; the column's name
};
struct ResetAll {};
/// Nothing to do; the tag is the answer. LISTEN, UNLISTEN, SET TRANSACTION, ...
struct Tagged {
  std::string tag;
};
struct DiscardAll {};
/// Empty name: all.
struct Deallocate {
  std::string name;
};
struct DeclareCursor {
  std::string name;
  bool hold = false;
  size_t query = 0;  // where the SELECT begins in the statement
};
struct FetchCursor {
  std::string name;
  uint64_t count = 1;
  bool move = false;
  std::optional<std::chrono::milliseconds> timeout;  // of a SUBSCRIBE's cursor
};
/// Empty name: all.
struct CloseCursor {
  std::string name;
};
enum class CopyFormat { kText, kCsv, kBinary };
struct CopyOptions {
  CopyFormat format = CopyFormat::kText;
  bool header = false;
  char delimiter = '\t';
  char quote = '"';
  char escape = '"';
  std::string null = "\\N";
};
struct CopyFromStdin {
  std::string table;
  std::vector<std::string> columns;
  CopyOptions options;
};
struct CopyToStdout {
  std::string query;
  std::optional<size_t> query_at;  // where it stands in the statement, if it does
  CopyOptions options;
};
enum class Transaction { kBegin, kCommit, kRollback };

using Local =
    std::variant<SetSetting, ShowSetting, ResetAll, Tagged, DiscardAll, Deallocate, DeclareCursor,
                 FetchCursor, CloseCursor, CopyFromStdin, CopyToStdout, Transaction>;

/// Nothing: the engine's. Errors: kSyntax, kNotSupported (an option of COPY).
Result<std::optional<Local>> classify(std::string_view sql);

}  // namespace millrace::pgwire::detail

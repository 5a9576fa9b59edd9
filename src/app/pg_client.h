#pragma once

#include <functional>
#include <memory>
#include <string>

#include "app/cli.h"
#include "app/table_printer.h"

namespace millrace::app {

/// A connection to a node's PostgreSQL address, by libpq. Blocks; one thread.
class PgClient {
 public:
  /// Errors: kConnectionClosed when nobody answers there.
  static Result<std::unique_ptr<PgClient>> connect(const std::string& address);
  ~PgClient();

  struct Answer {
    TextTable table;  // no columns: a command
    std::string tag;
  };
  /// Runs one statement, or a script of several. `each` gets every answer as it comes, also those
  /// before a failure. Errors carry the server's SQLSTATE in the text, its hint, and the position
  /// in `script`.
  Result<> run(const std::string& script, const std::function<void(Answer)>& each);

 private:
  struct Impl;
  explicit PgClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::app

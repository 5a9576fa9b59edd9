#pragma once

#include <duckdb.hpp>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/io/env.h"
#include "base/result.h"
#include "broker/broker.h"
#include "sql/relation.h"

namespace millrace::sql {

/// Rows of a running statement. One thread at a time.
class Cursor {
 public:
  virtual ~Cursor() = default;
  /// The next rows, or null at the end. Errors end the statement.
  virtual Result<duckdb::unique_ptr<duckdb::DataChunk>> fetch() = 0;
  /// A result that goes on as its data changes (SUBSCRIBE): fetch() waits for no rows, and gives a
  /// chunk without rows when there are none yet. It needs nothing of its session.
  virtual bool endless() const { return false; }
  /// Of an endless one: `wake` is called, on any thread, when fetch() may have rows; null ends
  /// that. What ends a result need not wake: fetch again each second.
  virtual void on_rows(std::function<void()>) {}
  /// PostgreSQL's command tag, complete at the end: "SELECT 5", "INSERT 0 3", "CREATE TOPIC".
  virtual std::string tag() const = 0;
};

/// A parsed and planned statement.
class Statement {
 public:
  virtual ~Statement() = default;
  virtual const std::vector<duckdb::LogicalType>& parameters()
      const = 0;  // SQLNULL or UNKNOWN where not inferred
  virtual const std::vector<std::string>& names()
      const = 0;  // of the result; empty: it returns no rows
  virtual const std::vector<duckdb::LogicalType>& types() const = 0;
  virtual bool is_empty() const = 0;  // only white space and comments
};

enum class TransactionState { kIdle, kActive, kFailed };

/// One client's conversation: settings, transaction, prepared statements of its DuckDB connection.
/// Blocks: one pool thread at a time; interrupt() from any.
class Session {
 public:
  virtual ~Session() = default;
  /// Cuts a script into statements (comments and quotes understood). Errors: kSyntax.
  virtual Result<std::vector<std::string>> split(std::string_view script) = 0;
  /// `parameter_types`: what the client says, UNKNOWN where it leaves it open. Errors carry
  /// position and hint.
  virtual Result<std::unique_ptr<Statement>> prepare(
      std::string sql, std::vector<duckdb::LogicalType> parameter_types) = 0;
  virtual Result<std::unique_ptr<Cursor>> execute(Statement& statement,
                                                  std::vector<duckdb::Value> parameters) = 0;
  virtual TransactionState transaction_state() const = 0;
  /// The running statement fails with kCancelled. Any thread.
  virtual void interrupt() = 0;
  /// Appends rows to a table or topic (COPY FROM STDIN, client side): the text as PostgreSQL's COPY
  /// sends it.
  virtual Result<uint64_t> copy_in(std::string_view table, const std::vector<std::string>& columns,
                                   std::string_view format, bool header, std::string data) = 0;
};

/// A view's query, bound and optimised, ready to be made incremental. Owns the DuckDB context that
/// its expressions need.
struct PlannedQuery {
  std::shared_ptr<void> keep_alive;  // instance, connection, binder, open transaction
  duckdb::ClientContext* context = nullptr;
  duckdb::unique_ptr<duckdb::LogicalOperator> plan;  // column bindings symbolic
  std::vector<std::string> names;
  std::vector<duckdb::LogicalType> types;
  std::vector<std::string> inputs;  // objects that it reads, sorted
};

/// The bind data of every LogicalGet over one of our relations, in plans of PlannedQuery: which
/// object it reads. The get's column ids index Relation::columns().
const catalog::Object* scanned_object(const duckdb::LogicalOperator& get);

/// DuckDB inside. One instance serves queries: the catalog attached as database `millrace`, schema
/// `public`, through a storage extension; another plans standing queries (an internal error of
/// DuckDB invalidates an instance).
class Engine {
 public:
  struct Options {
    size_t threads = 2;
    size_t memory_bytes = 1u << 30;
  };
  static Result<std::unique_ptr<Engine>> open(io::Runtime& runtime, io::Env& env,
                                              catalog::Catalog& catalog, broker::Broker& broker,
                                              Options options);
  virtual ~Engine() = default;

  /// Who serves tables and views; set once, before sessions.
  virtual void set_host(Host* host) = 0;
  virtual Result<std::unique_ptr<Session>> connect(std::string user, std::string database) = 0;
  /// Plans `query` as a standing query: our windows rewritten (TUMBLE, HOP), passes that need
  /// today's data switched off.
  virtual Result<PlannedQuery> plan(const std::string& query) = 0;
  /// The check that the broker makes at produce for topics with on_error='reject'.
  virtual broker::ProduceCheck& produce_check() = 0;
};

}  // namespace millrace::sql

#pragma once

#include <duckdb.hpp>

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "guard/scram.h"
#include "pgwire/detail/copy.h"
#include "pgwire/detail/encoder.h"
#include "pgwire/detail/local.h"
#include "pgwire/detail/settings.h"
#include "pgwire/detail/wire.h"
#include "sql/engine.h"

namespace millrace::pgwire::detail {

// ---- what the machine asks of the loop around it

/// Write output() if there is any, then read some bytes and feed() them.
struct Read {};
/// Write output(), which has grown enough, and go on.
struct Write {};
/// Make a session; answer connected().
struct Connect {
  std::string user, database;
};
/// On the session; answer split().
struct Split {
  std::string script;
};
/// On the session; answer prepared().
struct Prepare {
  std::string sql;
  std::vector<duckdb::LogicalType> types;
};
/// On the session; answer executed().
struct Execute {
  sql::Statement* statement;
  std::vector<duckdb::Value> parameters;
};
/// Answer fetched().
struct Fetch {
  sql::Cursor* cursor;
};
/// Write output(), then wait until the cursor's on_rows() tells of rows, or `until`; answer
/// waited().
struct Await {
  sql::Cursor* cursor;
  std::optional<std::chrono::steady_clock::time_point> until;
};
/// On the session; answer copied().
struct CopyIn {
  CopyFromStdin copy;
  std::string data;
};
/// Interrupt the session that this process id and secret name; no answer. Close follows.
struct Cancel {
  int32_t process, secret;
};
/// Write output() and close. `reason` is for the log; empty when the client said good-bye.
struct Close {
  std::string reason;
};
using Step = std::variant<Read, Write, Connect, Split, Prepare, Execute, Fetch, Await, CopyIn,
                          Cancel, Close>;

/// The verifier of a user who must show the password; nothing: a name that anybody may say.
using VerifierOf = std::function<std::optional<guard::Verifier>(const std::string& user)>;

/// The server's side of one PostgreSQL connection, protocol 3.0, as a step machine without I/O: ask
/// next() what to do, do it, give the answer, ask again. One thread at a time.
/// Source: PostgreSQL 15, "Frontend/Backend Protocol".
class Machine {
 public:
  struct Setup {
    int32_t process = 0;  // what CancelRequest must name
    int32_t secret = 0;
    std::string server_version;
    VerifierOf verifier_of = {};  // empty: nobody is asked for a password
  };
  explicit Machine(Setup setup);
  ~Machine();

  void feed(std::string_view bytes) { frames_.feed(bytes); }
  Step next();
  /// Bytes for the client; the loop takes them when it is told to write.
  std::string take_output() { return std::exchange(output_, {}); }

  void connected(Result<> result);
  void split(Result<std::vector<std::string>> result);
  void prepared(Result<std::unique_ptr<sql::Statement>> result);
  void executed(Result<std::unique_ptr<sql::Cursor>> result);
  void fetched(Result<duckdb::unique_ptr<duckdb::DataChunk>> result);
  /// An error ends the statement.
  void waited(Result<> result);
  void copied(Result<uint64_t> result);
  /// What the session says after each of the answers above; before the answer.
  void set_transaction_state(sql::TransactionState state);

  /// Says a last word to the client; next() then gives Close.
  void end(const Error& error);

  struct Counts {
    uint64_t statements = 0, errors = 0;
  };
  Counts take_counts() { return std::exchange(counts_, {}); }

  /// How much output is collected before it is written.
  static constexpr size_t kOutputBytes = 64u << 10;
  static constexpr size_t kCopyBytesMax = 256u << 20;
  static constexpr size_t kStatementsMax = 10'000;
  static constexpr size_t kPortalsMax = 1'000;
  /// What a client may send ahead while a result without an end goes on.
  static constexpr size_t kAheadBytesMax = 1u << 20;
  /// Rows of a suspended portal that are kept when the session must do something else.
  static constexpr size_t kKeptBytesMax = 64u << 20;

 private:
  struct Prepared;
  struct Portal;
  using PreparedPtr = std::shared_ptr<Prepared>;
  using PortalPtr = std::shared_ptr<Portal>;

  enum class Phase {
    kStartup,
    kLogin,      // reads the client's messages of SCRAM
    kMessages,   // reads the client's next message, or goes on with the simple query
    kAsked,      // waits for an answer
    kStreaming,  // sends rows of running_
    kDraining,   // waits for rows of live_, to keep them
    kCopyIn,     // collects COPY's data
    kEnded
  };

  // startup (machine.cc)
  void startup();
  void startup_packet(Reader reader);
  void startup_message(int32_t version, Reader& reader);
  void report_setting(std::string_view name);

  // login (machine_login.cc)
  void ask_for_password(guard::Verifier verifier);
  void login();
  void password_message(Reader reader);

  // messages (machine.cc)
  void message();
  void dispatch(const Frames::Frame& frame);
  void query(Reader& reader);
  void next_simple_statement();
  void sync();
  void ready_for_query();

  // extended query (machine_extended.cc)
  void parse(Reader& reader);
  void bind(Reader& reader);
  Result<> bind_parameters(Portal& portal, const std::vector<Format>& formats, Reader& reader);
  Result<> bind_formats(Portal& portal, Reader& reader);
  void describe(Reader& reader);
  void execute(Reader& reader);
  void close(Reader& reader);
  void put_parameters(const Prepared& prepared);
  void put_local_rows(const Local& local, const std::vector<Format>& formats);

  // running (machine_run.cc)
  void ask(Step step);
  void prepare(PreparedPtr prepared, std::vector<int32_t> oids);
  void start(PortalPtr portal, uint64_t limit);
  void put_rows(const std::vector<std::string>& names,
                const std::vector<duckdb::LogicalType>& types, const std::vector<Format>& formats);
  void stream();
  bool stream_chunk(Portal& portal);
  bool is_fetch() const { return tag_ == "FETCH" || tag_ == "MOVE"; }
  bool fetch_time_is_over() const;
  void no_rows_yet(Portal& portal);
  void finish_rows();
  void suspend();
  void drained(Result<duckdb::unique_ptr<duckdb::DataChunk>> result);
  void complete(std::string_view tag);
  void statement_done();

  // statements that the wire answers itself (machine_local.cc)
  void run_local(const Local& local);
  void run(const SetSetting& set);
  void run(const ShowSetting& show);
  void run(const ResetAll& reset);
  void run(const Tagged& tagged);
  void run(const DiscardAll& discard);
  void run(const Deallocate& deallocate);
  void run(const FetchCursor& fetch);
  void run(const CloseCursor& close);
  void run(const CopyFromStdin& copy);
  void run(Transaction transaction);
  void transaction_prepared(std::unique_ptr<sql::Statement> statement);
  void run(const DeclareCursor&) {}  // these two have a query, which start() runs
  void run(const CopyToStdout&) {}
  void declared(const DeclareCursor& cursor);
  void copy_out_started(const CopyToStdout& copy);
  void copy_in_frame(const Frames::Frame& frame);

  // what goes wrong (machine.cc)
  void fail(const Error& error);
  void fail(std::string_view sqlstate, std::string_view text);
  void failed(const Report& report);
  void warn(std::string_view sqlstate, std::string_view text);
  void fatal(std::string_view sqlstate, std::string_view text);
  bool refused(const std::optional<Local>& local);
  bool in_transaction() const { return state_ != sql::TransactionState::kIdle; }

  Setup setup_;
  Settings settings_;
  Frames frames_;
  std::string output_;
  Counts counts_;

  Phase phase_ = Phase::kStartup;
  std::optional<Step> asked_;  // what next() gives out
  std::string close_reason_;
  bool ssl_asked_ = false, gss_asked_ = false;
  Connect who_;                               // the client says it is
  std::unique_ptr<guard::ScramLogin> login_;  // under way
  bool mechanism_said_ = false;               // in its first message

  sql::TransactionState state_ = sql::TransactionState::kIdle;
  bool failed_ = false;  // an error within a transaction; until its end

  std::map<std::string, PreparedPtr, std::less<>> statements_;
  std::map<std::string, PortalPtr, std::less<>> portals_;
  bool skipping_ = false;  // after an error in the extended protocol, until Sync

  // the simple query under way
  bool simple_ = false;
  std::string script_;
  std::deque<std::pair<std::string, size_t>> queue_;  // statements, with their place in script_

  // the statement under way
  PreparedPtr preparing_;
  std::string preparing_name_;
  PortalPtr running_;
  uint64_t limit_ = 0;         // rows still to send
  uint64_t sent_ = 0;          // rows sent by this execution
  std::string tag_;            // of this execution; empty: the cursor's
  bool discard_rows_ = false;  // MOVE
  // Of a FETCH from a result without an end; nothing: until it has rows, and no longer.
  std::optional<std::chrono::steady_clock::time_point> fetch_until_;
  std::optional<CopyWriter> copy_out_;
  std::optional<CopyFromStdin> copy_in_;
  std::string copy_data_;

  // The portal whose cursor is open on the session, at most one: when the session must do something
  // else, the rest of its rows is fetched first and kept.
  std::weak_ptr<Portal> live_;
  std::optional<Step> after_drain_;
};

}  // namespace millrace::pgwire::detail

#pragma once

#include <duckdb.hpp>

#include <duckdb/main/connection.hpp>
#include <duckdb/main/prepared_statement.hpp>
#include <duckdb/parser/sql_statement.hpp>

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sql/engine.h"

namespace millrace::pgwire::detail {

// For tests: sessions over a plain DuckDB in memory, without a catalog or topics.

class FakeCursor : public sql::Cursor {
 public:
  FakeCursor(duckdb::unique_ptr<duckdb::QueryResult> result, duckdb::StatementReturnType kind,
             std::string verb)
      : result_(std::move(result)), kind_(kind), verb_(std::move(verb)) {}
  Result<duckdb::unique_ptr<duckdb::DataChunk>> fetch() override {
    duckdb::unique_ptr<duckdb::DataChunk> chunk;
    try {
      chunk = result_->Fetch();
    } catch (const std::exception& e) {
      return Error{ErrorCode::kInvalidArgument, e.what()};
    }
    if (result_->HasError()) {
      bool cancelled = result_->GetErrorType() == duckdb::ExceptionType::INTERRUPT;
      return Error{cancelled ? ErrorCode::kCancelled : ErrorCode::kInvalidArgument,
                   result_->GetError()};
    }
    if (!chunk || chunk->size() == 0) return duckdb::unique_ptr<duckdb::DataChunk>();
    if (kind_ == duckdb::StatementReturnType::CHANGED_ROWS) {
      rows_ += chunk->GetValue(0, 0).GetValue<uint64_t>();
    } else {
      rows_ += chunk->size();
    }
    return std::move(chunk);
  }
  std::string tag() const override {
    switch (kind_) {
      case duckdb::StatementReturnType::QUERY_RESULT:
        return fmt::format("SELECT {}", rows_);
      case duckdb::StatementReturnType::CHANGED_ROWS:
        return fmt::format("{}{}", verb_ == "INSERT" ? "INSERT 0 " : verb_ + " ", rows_);
      default:
        return verb_;
    }
  }

 private:
  duckdb::unique_ptr<duckdb::QueryResult> result_;
  duckdb::StatementReturnType kind_;
  std::string verb_;
  uint64_t rows_ = 0;
};

class FakeStatement : public sql::Statement {
 public:
  FakeStatement(duckdb::unique_ptr<duckdb::PreparedStatement> statement, std::string verb)
      : prepared(std::move(statement)), verb(std::move(verb)) {
    if (!prepared) return;
    auto types = prepared->GetExpectedParameterTypes();
    parameters_.resize(prepared->named_param_map.size(), duckdb::LogicalType::UNKNOWN);
    for (auto& [name, index] : prepared->named_param_map) {
      if (types.count(name)) parameters_[index - 1] = types[name];
    }
    if (kind() != duckdb::StatementReturnType::QUERY_RESULT) return;
    for (auto& name : prepared->GetNames()) names_.push_back(name);
    for (auto& type : prepared->GetTypes()) types_.push_back(type);
  }
  duckdb::StatementReturnType kind() { return prepared->GetStatementProperties().return_type; }
  const std::vector<duckdb::LogicalType>& parameters() const override { return parameters_; }
  const std::vector<std::string>& names() const override { return names_; }
  const std::vector<duckdb::LogicalType>& types() const override { return types_; }
  bool is_empty() const override { return prepared == nullptr; }

  duckdb::unique_ptr<duckdb::PreparedStatement> prepared;
  std::string verb;

 private:
  std::vector<duckdb::LogicalType> parameters_, types_;
  std::vector<std::string> names_;
};

/// What SUBSCRIBE gives: the numbers that a test puts there. Any thread.
class FakeFeed {
 public:
  void put(std::vector<int64_t> numbers) {
    std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(numbers));
    if (wake_) wake_();
  }
  void fail(Error error) {
    std::lock_guard lock(mutex_);
    error_ = std::move(error);
  }
  void on_rows(std::function<void()> wake) {
    std::lock_guard lock(mutex_);
    wake_ = std::move(wake);
  }
  Result<duckdb::unique_ptr<duckdb::DataChunk>> fetch() {
    std::lock_guard lock(mutex_);
    ++fetches;
    if (waiting_.empty() && error_) return *error_;
    auto chunk = duckdb::make_uniq<duckdb::DataChunk>();
    chunk->Initialize(duckdb::Allocator::DefaultAllocator(), {duckdb::LogicalType::BIGINT});
    if (waiting_.empty()) return chunk;
    for (const int64_t number : waiting_.front()) {
      chunk->SetCardinality(chunk->size() + 1);
      chunk->SetValue(0, chunk->size() - 1, duckdb::Value::BIGINT(number));
    }
    waiting_.pop_front();
    return chunk;
  }

  std::atomic<int> fetches = 0;
  std::atomic<int> open = 0;  // cursors

 private:
  std::mutex mutex_;
  std::deque<std::vector<int64_t>> waiting_;
  std::function<void()> wake_;
  std::optional<Error> error_;
};

class FakeEndlessCursor : public sql::Cursor {
 public:
  explicit FakeEndlessCursor(FakeFeed& feed) : feed_(feed) { ++feed_.open; }
  ~FakeEndlessCursor() override { --feed_.open; }
  Result<duckdb::unique_ptr<duckdb::DataChunk>> fetch() override { return feed_.fetch(); }
  bool endless() const override { return true; }
  void on_rows(std::function<void()> wake) override { feed_.on_rows(std::move(wake)); }
  std::string tag() const override { return "SUBSCRIBE"; }

 private:
  FakeFeed& feed_;
};

class FakeSession : public sql::Session {
 public:
  FakeSession(duckdb::DuckDB& db, FakeFeed& feed) : connection_(db), feed_(feed) {}

  Result<std::vector<std::string>> split(std::string_view script) override {
    std::vector<std::string> pieces;
    std::string piece;
    bool quoted = false;
    for (char c : script) {
      if (c == '\'') quoted = !quoted;
      if (c == ';' && !quoted) {
        add(std::exchange(piece, {}), pieces);
      } else {
        piece += c;
      }
    }
    add(piece, pieces);
    return pieces;
  }

  Result<std::unique_ptr<sql::Statement>> prepare(std::string sql,
                                                  std::vector<duckdb::LogicalType> types) override {
    std::vector<std::string> pieces;
    add(sql, pieces);
    if (pieces.empty()) return make_empty();
    // What the client says of its parameters, as casts.
    for (size_t i = 0; i < types.size(); i++) {
      if (types[i].id() == duckdb::LogicalTypeId::UNKNOWN) continue;
      std::string name = fmt::format("${}", i + 1);
      std::string cast = fmt::format("({}::{})", name, types[i].ToString());
      sql = duckdb::StringUtil::Replace(sql, name, cast);
    }
    const bool subscribes = sql.starts_with("SUBSCRIBE");
    auto prepared = connection_.Prepare(subscribes ? "SELECT 0::BIGINT AS n" : sql);
    if (prepared->HasError()) return to_error(prepared->GetErrorObject(), sql);
    size_t first = sql.find_first_not_of(" \n\t");
    std::string verb = sql.substr(first, sql.find_first_of(" \n;", first) - first);
    return std::unique_ptr<sql::Statement>(
        std::make_unique<FakeStatement>(std::move(prepared), duckdb::StringUtil::Upper(verb)));
  }

  Result<std::unique_ptr<sql::Cursor>> execute(sql::Statement& statement,
                                               std::vector<duckdb::Value> parameters) override {
    auto& fake = static_cast<FakeStatement&>(statement);
    if (fake.verb == "SUBSCRIBE")
      return std::unique_ptr<sql::Cursor>(std::make_unique<FakeEndlessCursor>(feed_));
    duckdb::vector<duckdb::Value> values(parameters.begin(), parameters.end());
    auto result = fake.prepared->Execute(values, true);
    if (result->HasError()) return to_error(result->GetErrorObject(), "");
    return std::unique_ptr<sql::Cursor>(
        std::make_unique<FakeCursor>(std::move(result), fake.kind(), fake.verb));
  }

  sql::TransactionState transaction_state() const override {
    return const_cast<duckdb::Connection&>(connection_).IsAutoCommit()
               ? sql::TransactionState::kIdle
               : sql::TransactionState::kActive;
  }
  void interrupt() override { connection_.Interrupt(); }

  Result<uint64_t> copy_in(std::string_view table, const std::vector<std::string>& columns,
                           std::string_view format, bool header, std::string data) override {
    copied = fmt::format("{}({}) {}{}: {}", table, fmt::join(columns, ","), format,
                         header ? " header" : "", data);
    if (table == "missing") return Error{ErrorCode::kUndefinedObject, "no such table"};
    return static_cast<uint64_t>(std::count(data.begin(), data.end(), '\n'));
  }

  std::string copied;

 private:
  static void add(const std::string& piece, std::vector<std::string>& pieces) {
    size_t first = piece.find_first_not_of(" \n\t;");
    if (first != std::string::npos) pieces.push_back(piece.substr(first));
  }
  static Result<std::unique_ptr<sql::Statement>> make_empty() {
    return std::unique_ptr<sql::Statement>(std::make_unique<FakeStatement>(nullptr, ""));
  }
  static Error to_error(duckdb::ErrorData& data, const std::string& sql) {
    Error error{ErrorCode::kInvalidArgument, data.RawMessage()};
    if (data.Type() == duckdb::ExceptionType::PARSER) error.code = ErrorCode::kSyntax;
    if (data.Type() == duckdb::ExceptionType::CATALOG) error.code = ErrorCode::kUndefinedObject;
    if (data.Type() == duckdb::ExceptionType::INTERRUPT) error.code = ErrorCode::kCancelled;
    // DuckDB has told the position in its message; here it is enough to find the word.
    for (std::string_view mark : {"at or near \"", "Table with name "}) {
      size_t at = error.text.find(mark);
      if (at == std::string::npos) continue;
      at += mark.size();
      error.position = sql.find(error.text.substr(at, error.text.find_first_of(" \"", at) - at));
    }
    return error;
  }

  duckdb::Connection connection_;
  FakeFeed& feed_;
};

class FakeEngine : public sql::Engine {
 public:
  FakeEngine() : db_(nullptr) {}
  void set_host(sql::Host*) override {}
  Result<std::unique_ptr<sql::Session>> connect(std::string, std::string database) override {
    if (database == "nowhere") return Error{ErrorCode::kUndefinedObject, "no such database"};
    auto session = std::make_unique<FakeSession>(db_, feed);
    last = session.get();
    return std::unique_ptr<sql::Session>(std::move(session));
  }
  Result<sql::PlannedQuery> plan(const std::string&) override {
    return Error{ErrorCode::kNotSupported, "a fake plans nothing"};
  }
  broker::ProduceCheck& produce_check() override { std::abort(); }

  FakeFeed feed;
  FakeSession* last = nullptr;  // the session made last

 private:
  duckdb::DuckDB db_;
};

}  // namespace millrace::pgwire::detail

// Bytes of a PostgreSQL client, startup included, against a connection whose session answers every
// statement with the same row. Finds: crashes, hangs, output that is not made of whole messages.
#include <duckdb.hpp>

#include <cstdlib>

#include "pgwire/detail/connection.h"
#include "pgwire/detail/wire.h"
#include "test/fuzz/seeds.h"

namespace millrace::pgwire::detail {
namespace {

class OneRow : public sql::Cursor {
 public:
  Result<duckdb::unique_ptr<duckdb::DataChunk>> fetch() override {
    if (std::exchange(done_, true)) return duckdb::unique_ptr<duckdb::DataChunk>();
    auto chunk = duckdb::make_uniq<duckdb::DataChunk>();
    chunk->Initialize(duckdb::Allocator::DefaultAllocator(), {duckdb::LogicalType::INTEGER});
    chunk->SetValue(0, 0, duckdb::Value::INTEGER(7));
    chunk->SetCardinality(1);
    return chunk;
  }
  std::string tag() const override { return "SELECT 1"; }

 private:
  bool done_ = false;
};

class Any : public sql::Statement {
 public:
  explicit Any(std::vector<duckdb::LogicalType> parameters) : parameters_(std::move(parameters)) {}
  const std::vector<duckdb::LogicalType>& parameters() const override { return parameters_; }
  const std::vector<std::string>& names() const override { return names_; }
  const std::vector<duckdb::LogicalType>& types() const override { return types_; }
  bool is_empty() const override { return false; }

 private:
  std::vector<duckdb::LogicalType> parameters_;
  std::vector<std::string> names_{"a"};
  std::vector<duckdb::LogicalType> types_{duckdb::LogicalType::INTEGER};
};

class AnySession : public sql::Session {
 public:
  Result<std::vector<std::string>> split(std::string_view script) override {
    return std::vector<std::string>{std::string(script)};
  }
  Result<std::unique_ptr<sql::Statement>> prepare(std::string sql,
                                                  std::vector<duckdb::LogicalType> types) override {
    if (sql.starts_with("BEGIN")) state_ = sql::TransactionState::kActive;
    if (sql.starts_with("COMMIT") || sql.starts_with("ROLLBACK")) {
      state_ = sql::TransactionState::kIdle;
    }
    if (sql.starts_with("!")) return Error{ErrorCode::kSyntax, "!", sql.size()};
    return std::unique_ptr<sql::Statement>(std::make_unique<Any>(std::move(types)));
  }
  Result<std::unique_ptr<sql::Cursor>> execute(sql::Statement&,
                                               std::vector<duckdb::Value>) override {
    return std::unique_ptr<sql::Cursor>(std::make_unique<OneRow>());
  }
  sql::TransactionState transaction_state() const override { return state_; }
  void interrupt() override {}
  Result<uint64_t> copy_in(std::string_view, const std::vector<std::string>&, std::string_view,
                           bool, std::string data) override {
    return uint64_t{data.size()};
  }

 private:
  sql::TransactionState state_ = sql::TransactionState::kIdle;
};

class AnyEngine : public sql::Engine, public Canceller {
 public:
  void set_host(sql::Host*) override {}
  Result<std::unique_ptr<sql::Session>> connect(std::string, std::string) override {
    return std::unique_ptr<sql::Session>(std::make_unique<AnySession>());
  }
  Result<sql::PlannedQuery> plan(const std::string&) override {
    return Error{ErrorCode::kNotSupported, ""};
  }
  broker::ProduceCheck& produce_check() override { std::abort(); }
  void cancel(int32_t, int32_t) override {}
};

/// Every message of a server has a known type and its whole length.
void check(std::string_view output) {
  while (!output.empty()) {
    if (output.starts_with('N') && (output.size() == 1 || output[1] != '\0')) {
      output.remove_prefix(1);  // the answer to SSLRequest
      continue;
    }
    if (output.size() < 5) std::abort();
    auto length = Reader(output.substr(1)).integer<int32_t>();
    if (length < 4 || static_cast<size_t>(length) > output.size() - 1) std::abort();
    if (std::string_view("123CDEGHIKNRSTZcdnstv").find(output[0]) == output.npos) std::abort();
    output.remove_prefix(static_cast<size_t>(length) + 1);
  }
}

void converse(std::string_view bytes, size_t piece) {
  AnyEngine engine;
  const auto verifier_of = [](const std::string& user) {
    static const auto verifier = guard::make_verifier(guard::Digest::kSha256, "p", "salt", 1);
    return user == "g" ? std::optional(verifier) : std::nullopt;
  };
  Connection connection({engine, engine, 1, 2, [] {}, verifier_of});
  std::string output;
  bool closed = false;
  while (!bytes.empty() && !closed) {
    std::string_view next = bytes.substr(0, piece);
    bytes.remove_prefix(next.size());
    auto todo = Connection::Todo::kWrite;
    while (todo == Connection::Todo::kWrite) {
      todo = connection.advance(next);
      next = {};
      output += connection.take_output();
    }
    closed = todo == Connection::Todo::kClose;
  }
  check(output);
}

std::string message(char type, std::string_view body) {
  std::string bytes;
  {
    Message framed(bytes, type);
    bytes += body;
  }
  return bytes;
}

using namespace std::string_view_literals;

const std::string kStartup("\0\0\0\x10\0\3\0\0user\0m\0\0"sv);

std::vector<std::string> seeds() {
  const std::string ssl("\0\0\0\x08\x04\xd2\x16\x2f"sv);
  const std::string query = message('Q', "SELECT 1\0"sv);
  const std::string extended =
      message('P', "s\0SELECT $1, $2\0\0\2\0\0\0\x17\0\0\6\xa4"sv) + message('D', "Ss\0"sv) +
      message('B', "p\0s\0\0\2\0\0\0\1\0\2\0\0\0\1\x37\0\0\0\x0a\0\1\0\0\0\0\0\0\0\7\0\1\0\1"sv) +
      message('E', "p\0\0\0\0\1"sv) + message('C', "Pp\0"sv) + message('S', "");
  const std::string cursors = message('Q', "BEGIN\0"sv) +
                              message('Q', "DECLARE c CURSOR FOR SELECT 1\0"sv) +
                              message('Q', "FETCH 1 FROM c\0"sv) + message('Q', "COMMIT\0"sv);
  const std::string copy = message('Q', "COPY t (a) FROM STDIN CSV\0"sv) + message('d', "1\n") +
                           message('c', "") +
                           message('Q', "COPY (SELECT 1) TO STDOUT (FORMAT binary)\0"sv);
  const std::string settings = message('Q', "SET TimeZone TO 'UTC'; SHOW jit\0"sv) +
                               message('Q', "SELECT current_setting('jit')\0"sv);
  const std::string login("\0\0\0\x10\0\3\0\0user\0g\0\0"sv);
  const std::string passwords =
      message('p', "SCRAM-SHA-256\0\0\0\0\x9n,,n=,r=a"sv) + message('p', "c=biws,r=a,p=AAAA");
  return {'\0' + login + passwords,
          '\0' + ssl + kStartup + query,
          '\3' + extended,
          '\1' + cursors,
          '\1' + copy,
          '\1' + settings};
}

}  // namespace
}  // namespace millrace::pgwire::detail

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace::pgwire::detail;
  if (size == 0) return 0;
  // The first byte says whether the connection is past its startup, and in which pieces bytes come.
  std::string bytes;
  if (data[0] & 1) bytes = kStartup;
  bytes.append(reinterpret_cast<const char*>(data) + 1, size - 1);
  converse(bytes, data[0] & 2 ? 7 : bytes.size());
  return 0;
}

std::vector<std::string> fuzz_seeds() { return millrace::pgwire::detail::seeds(); }

// Bytes as a script of SQL. Finds: crashes in what we parse ourselves (statements, window functions
// of FROM, COPY's text), and definitions that are others when the catalog reads them again.
#include <duckdb.hpp>
#include <duckdb/parser/parser.hpp>

#include <cstdlib>

#include "sql/detail/copy_in.h"
#include "sql/detail/fakes.h"
#include "sql/detail/lexer.h"
#include "sql/detail/statements.h"
#include "sql/script.h"
#include "sql/windows.h"
#include "test/fuzz/seeds.h"

namespace millrace::sql {
namespace {

std::optional<OurStatement> parse(const std::string& sql) {
  static const testing::FakeSnapshot snapshot;
  const auto tokens = tokenize(sql);
  if (!tokens) return std::nullopt;
  auto parsed = parse_ours(sql, *tokens, snapshot);
  return parsed ? std::move(*parsed) : std::nullopt;
}

/// What the catalog keeps must mean the same when it is read back.
void check_definition(const catalog::Object& object) {
  const auto again = parse(object.sql);
  const auto* create = again ? std::get_if<CreateObject>(&*again) : nullptr;
  if (create == nullptr || !create->object.same_definition(object)) std::abort();
}

void check_statement(const std::string& sql) {
  if (const auto ours = parse(sql)) {
    if (const auto* create = std::get_if<CreateObject>(&*ours)) check_definition(create->object);
    return;
  }
  duckdb::Parser parser;
  parser.ParseQuery(sql);
  for (auto& statement : parser.statements) {
    if (statement->type != duckdb::StatementType::SELECT_STATEMENT) continue;
    for (const auto whom : {WindowsFor::kQuery, WindowsFor::kView}) {
      auto copy = statement->Copy();
      rewrite_windows(*copy, whom);
    }
  }
}

void check(const std::string& script) {
  for (const char* format : {"text", "csv"}) {
    static_cast<void>(parse_copy_text(script, {.format = format}));
  }
  const auto statements = split_statements(script);
  if (!statements) return;
  for (const auto& statement : *statements) {
    try {
      check_statement(statement);
    } catch (const std::exception&) {  // DuckDB's refusals; a session answers them
    }
  }
}

}  // namespace
}  // namespace millrace::sql

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  millrace::sql::check(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {
      "CREATE TOPIC t (id BIGINT NOT NULL, at TIMESTAMP, \"Odd\" STRUCT(a INTEGER[]), WATERMARK "
      "FOR at AS at - INTERVAL 5 SECOND) "
      "WITH (format = 'json', partitions = 3, 'retention.ms' = 1000, on_error = 'skip')",
      "CREATE OR REPLACE TABLE t (k VARCHAR, v DECIMAL(10, 2) DEFAULT 1, PRIMARY KEY (k)); DROP "
      "TABLE IF EXISTS t CASCADE",
      "CREATE MATERIALIZED VIEW v WITH (on_error = 'stop') AS SELECT window_start, count(*) FROM "
      "TUMBLE(t, at, INTERVAL '1 minute') "
      "GROUP BY ALL EMIT ON WINDOW CLOSE",
      "CREATE SINK s WITH (format = 'upsert', key = 'k') AS SELECT k, v FROM t",
      "SELECT * FROM SESSION(t, at, INTERVAL 1 MINUTE, k) s JOIN u FOR SYSTEM_TIME AS OF s.at ON "
      "s.k = u.k",
      "SELECT * FROM HOP((SELECT * FROM t), at, INTERVAL 1 MINUTE, INTERVAL 5 MINUTE) h JOIN "
      "TUMBLE(u, at, INTERVAL 1 HOUR) USING (k)",
      "SHOW TOPICS; SHOW CREATE TABLE t; DESCRIBE t; EXPLAIN ANALYZE MATERIALIZED VIEW v; ALTER "
      "MATERIALIZED VIEW v PAUSE",
      "SUBSCRIBE TO (SELECT 'a;b', $x$ ; $x$, E'\\n' /* /* */ */ -- c\n) AFTER 'token' WITH "
      "(SNAPSHOT, PROGRESS); BEGIN; END; ROLLBACK",
      "1\t\\N\ta\\tb\\x41\n\"a\"\"b\",,c\r\n\\.\n",
  };
}

#include <gmock/gmock.h>

#include <fstream>

#include "sql/detail/fakes.h"

namespace millrace::sql::testing {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class Sessions : public EngineTest {};

std::vector<std::string> row(std::initializer_list<std::string> values) { return values; }

TEST_F(Sessions, SelectsConstantsWithParameters) {
  const auto answer = run("SELECT $1 + 1 AS x, $2 AS y", {duckdb::Value::INTEGER(41), "b"});
  EXPECT_THAT(answer.rows, ElementsAre(row({"42", "b"})));
  EXPECT_THAT(answer.names, ElementsAre("x", "y"));
  EXPECT_EQ(answer.tag, "SELECT 1");
}

TEST_F(Sessions, CastsParametersToTheClientsTypes) {
  auto mine = engine->connect("ada", "millrace").value();
  auto statement = mine->prepare("SELECT $1 AS x", {duckdb::LogicalType::BIGINT});
  ASSERT_TRUE(statement.has_value());
  EXPECT_EQ((*statement)->parameters().at(0), duckdb::LogicalType::BIGINT);
  EXPECT_EQ((*statement)->types().at(0), duckdb::LogicalType::BIGINT);
}

TEST_F(Sessions, KnowsItsNames) {
  const auto answer =
      run("SELECT current_database(), current_schema(), current_user, version() AS v");
  ASSERT_THAT(answer.rows, SizeIs(1));
  EXPECT_EQ(answer.rows[0][0], "millrace");
  EXPECT_EQ(answer.rows[0][1], "public");
  EXPECT_EQ(answer.rows[0][2], "ada");
  EXPECT_THAT(answer.rows[0][3], HasSubstr("PostgreSQL 15"));
}

TEST_F(Sessions, WritesAndReadsATable) {
  run("CREATE TABLE t (id INTEGER PRIMARY KEY, name VARCHAR, n INTEGER DEFAULT 7)");
  EXPECT_EQ(run("INSERT INTO t VALUES (1, 'a', 10), (2, 'b', 20)").tag, "INSERT 0 2");
  EXPECT_EQ(run("INSERT INTO t (name, id) VALUES ('c', 3)").tag, "INSERT 0 1");
  EXPECT_THAT(run("SELECT id, name, n FROM t ORDER BY id").rows,
              ElementsAre(row({"1", "a", "10"}), row({"2", "b", "20"}), row({"3", "c", "7"})));
  EXPECT_EQ(run("UPDATE t SET n = n + 1, name = upper(name) WHERE id >= 2").tag, "UPDATE 2");
  EXPECT_EQ(run("DELETE FROM t WHERE id = 1").tag, "DELETE 1");
  EXPECT_THAT(run("SELECT * FROM t ORDER BY id").rows,
              ElementsAre(row({"2", "B", "21"}), row({"3", "C", "8"})));
  EXPECT_THAT(run("SELECT count(*) FROM t").rows, ElementsAre(row({"2"})));
}

TEST_F(Sessions, TurnsConflictClausesIntoChangesByKey) {
  run("CREATE TABLE t (id INTEGER PRIMARY KEY, name VARCHAR)");
  run("INSERT INTO t VALUES (1, 'a')");
  run("INSERT INTO t VALUES (1, 'x') ON CONFLICT DO NOTHING");
  run("INSERT INTO t VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = excluded.name");
  run("INSERT OR REPLACE INTO t VALUES (2, 'y')");
  const auto& applied = host.relations.at("t")->applied;
  ASSERT_THAT(applied, SizeIs(4));
  EXPECT_EQ(applied[0].kind, Change::Kind::kInsert);
  EXPECT_EQ(applied[1].kind, Change::Kind::kInsertOrIgnore);
  EXPECT_EQ(applied[2].kind, Change::Kind::kUpsert);
  EXPECT_EQ(applied[3].kind, Change::Kind::kUpsert);
  EXPECT_THAT(run("SELECT * FROM t ORDER BY id").rows,
              ElementsAre(row({"1", "x"}), row({"2", "y"})));
}

TEST_F(Sessions, RefusesUpsertsThatAreNotWholeRows) {
  run("CREATE TABLE t (id INTEGER PRIMARY KEY, name VARCHAR, n INTEGER)");
  for (const char* sql :
       {"INSERT INTO t VALUES (1, 'x', 2) ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        "INSERT INTO t VALUES (1, 'x', 2) ON CONFLICT (id) DO UPDATE SET name = excluded.name, n = "
        "t.n + 1",
        "INSERT INTO t (id, n) VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET n = excluded.n, name = "
        "excluded.name"}) {
    const auto error = error_of(sql);
    EXPECT_EQ(error.code, ErrorCode::kNotSupported) << sql;
    EXPECT_THAT(error.hint, HasSubstr("ON CONFLICT (id) DO UPDATE SET")) << sql;
  }
}

TEST_F(Sessions, AppliesATransactionTogetherAtCommit) {
  run("CREATE TABLE t (id INTEGER PRIMARY KEY)");
  run("CREATE TABLE u (id INTEGER PRIMARY KEY)");
  EXPECT_EQ(run("BEGIN ISOLATION LEVEL READ COMMITTED").tag, "BEGIN");
  EXPECT_EQ(session->transaction_state(), TransactionState::kActive);
  run("INSERT INTO t VALUES (1)");
  run("INSERT INTO t VALUES (2)");
  run("INSERT INTO u VALUES (3)");
  run("SELECT * FROM t");
  EXPECT_THAT(host.relations.at("t")->applied, IsEmpty());
  EXPECT_EQ(run("COMMIT").tag, "COMMIT");
  EXPECT_EQ(session->transaction_state(), TransactionState::kIdle);
  EXPECT_THAT(host.relations.at("t")->rows, SizeIs(2));
  EXPECT_THAT(host.relations.at("u")->rows, SizeIs(1));
  run("BEGIN");
  run("DELETE FROM t");
  EXPECT_EQ(run("ROLLBACK").tag, "ROLLBACK");
  EXPECT_THAT(run("SELECT count(*) FROM t").rows, ElementsAre(row({"2"})));
}

TEST_F(Sessions, FailsATransactionAtItsFirstErrorUntilItEnds) {
  run("BEGIN");
  EXPECT_EQ(error_of("SELECT nothing").code, ErrorCode::kUndefinedColumn);
  EXPECT_EQ(session->transaction_state(), TransactionState::kFailed);
  EXPECT_EQ(error_of("SELECT 1").code, ErrorCode::kFailedTransaction);
  EXPECT_EQ(run("COMMIT").tag, "ROLLBACK");
  EXPECT_EQ(run("SELECT 1").tag, "SELECT 1");
}

TEST_F(Sessions, TellsARelationsRefusalAsItsOwnError) {
  run("CREATE TABLE t (id INTEGER PRIMARY KEY)");
  run("SELECT * FROM t");
  host.relations.at("t")->fail_next =
      Error{ErrorCode::kUniqueViolation, "key 1 exists", std::nullopt, "pick another"};
  const auto error = error_of("INSERT INTO t VALUES (1)");
  EXPECT_EQ(error.code, ErrorCode::kUniqueViolation);
  EXPECT_EQ(error.text, "key 1 exists");
  EXPECT_EQ(error.hint, "pick another");
  EXPECT_EQ(run("INSERT INTO t VALUES (1)").tag, "INSERT 0 1");
}

TEST_F(Sessions, ProducesAndReadsJsonRecords) {
  run("CREATE TOPIC e (id INTEGER NOT NULL, tags VARCHAR[], ts TIMESTAMP) WITH (partitions = 2)");
  run("INSERT INTO e VALUES (1, ['x', 'y'], '2024-01-01 10:00:00'), (2, NULL, NULL)");
  run("INSERT INTO e (_key, id) VALUES ('k'::BLOB, 3)");
  EXPECT_THAT(run("SELECT id, tags, ts FROM e ORDER BY id").rows,
              ElementsAre(row({"1", "[x, y]", "2024-01-01 10:00:00"}), row({"2", "NULL", "NULL"}),
                          row({"3", "NULL", "NULL"})));
  EXPECT_THAT(run("SELECT _key FROM e WHERE id = 3").rows, ElementsAre(row({"k"})));
  EXPECT_THAT(run("SELECT count(*) FROM e").rows, ElementsAre(row({"3"})));
  EXPECT_EQ(error_of("INSERT INTO e (tags) VALUES (['x'])").code, ErrorCode::kNotNullViolation);
  EXPECT_EQ(error_of("UPDATE e SET id = 3").code, ErrorCode::kNotSupported);
}

TEST_F(Sessions, ProducesRawRecords) {
  run("CREATE TOPIC raw");
  run("INSERT INTO raw VALUES ('abc'::BLOB)");
  EXPECT_THAT(run("SELECT value, _offset FROM raw").rows, ElementsAre(row({"abc", "0"})));
}

TEST_F(Sessions, ReadsOnlyWhatTheHiddenColumnsBoundsAllow) {
  run("CREATE TOPIC e (id INTEGER) WITH (partitions = 1)");
  for (int i = 0; i < 5; ++i) run("INSERT INTO e VALUES (" + std::to_string(i) + ")");
  auto& partition = dynamic_cast<FakePartition&>(*broker.find("e")->partitions.at(0));
  partition.reads = 0;
  EXPECT_THAT(run("SELECT id FROM e WHERE _offset >= 3").rows, ElementsAre(row({"3"}), row({"4"})));
  EXPECT_EQ(partition.reads, 2);
  partition.reads = 0;
  EXPECT_THAT(run("SELECT id FROM e WHERE _offset BETWEEN 1 AND 2 AND id > 1").rows,
              ElementsAre(row({"2"})));
  EXPECT_EQ(partition.reads, 2);
  partition.reads = 0;
  EXPECT_THAT(run("SELECT id FROM e WHERE _partition = 1").rows, IsEmpty());
  EXPECT_THAT(run("SELECT id FROM e WHERE _timestamp >= TIMESTAMPTZ '2999-01-01'").rows, IsEmpty());
  EXPECT_EQ(partition.reads, 0);
  EXPECT_THAT(run("SELECT count(*) FROM e WHERE _timestamp < TIMESTAMPTZ '2999-01-01'").rows,
              ElementsAre(row({"5"})));
  EXPECT_THAT(run("EXPLAIN SELECT id FROM e WHERE _offset >= 3").rows[0][1], HasSubstr("[3, end)"));
}

TEST_F(Sessions, JoinsTopicsTablesAndViews) {
  run("CREATE TOPIC e (k INTEGER, v INTEGER)");
  run("CREATE TABLE names (k INTEGER PRIMARY KEY, name VARCHAR)");
  run("INSERT INTO e VALUES (1, 10), (1, 20), (2, 5)");
  run("INSERT INTO names VALUES (1, 'one'), (2, 'two')");
  run("CREATE VIEW sums AS SELECT k, sum(v) AS s FROM e GROUP BY k");
  EXPECT_THAT(run("SELECT name, s FROM sums JOIN names USING (k) ORDER BY name").rows,
              ElementsAre(row({"one", "30"}), row({"two", "5"})));
}

TEST_F(Sessions, SessionWindowsOfAQueryMergeByKey) {
  run("CREATE TOPIC e (k INTEGER, ts TIMESTAMP, v INTEGER)");
  run("INSERT INTO e VALUES (1, '2024-01-01 00:00:00', 1), (1, '2024-01-01 00:10:00', 2), "
      "(1, '2024-01-01 00:20:01', 3), (2, '2024-01-01 00:05:00', 4), (2, NULL, 5)");
  run("SET default_null_order = 'nulls_first'");
  const char* query =
      "SELECT * FROM SESSION((SELECT * FROM e WHERE v > 0), ts, INTERVAL 10 MINUTE, k) ORDER BY v";
  const auto rows = run(query).rows;
  ASSERT_THAT(rows, SizeIs(5));
  EXPECT_THAT(rows[0], ElementsAre("1", "2024-01-01 00:00:00", "1", "2024-01-01 00:00:00",
                                   "2024-01-01 00:20:00"));
  EXPECT_EQ(rows[1][4], "2024-01-01 00:20:00");  // a gap later is not too late
  EXPECT_EQ(rows[2][3], "2024-01-01 00:20:01");
  EXPECT_EQ(rows[3][4], "2024-01-01 00:15:00");
  EXPECT_EQ(rows[4][3], "NULL");
  // The same through a plain view, and without keys.
  run("CREATE VIEW s AS SELECT * FROM SESSION(e, ts, INTERVAL 10 MINUTE, k)");
  EXPECT_EQ(run("SELECT * FROM s ORDER BY v").rows, rows);
  EXPECT_EQ(run("SELECT count(DISTINCT window_start) FROM SESSION(e, ts, INTERVAL 5 MINUTE)").rows,
            run("SELECT 2").rows);
}

TEST_F(Sessions, CumulatingWindowsEndAStepApart) {
  run("CREATE TOPIC e (ts TIMESTAMP)");
  run("INSERT INTO e VALUES ('2024-01-01 00:12:00')");
  EXPECT_EQ(run("SELECT window_start, window_end FROM CUMULATE(e, ts, INTERVAL 10 MINUTE, INTERVAL "
                "30 MINUTE) ORDER BY 2")
                .rows,
            run("SELECT TIMESTAMP '2024-01-01', TIMESTAMP '2024-01-01' + INTERVAL (m) MINUTE FROM "
                "(VALUES (20), (30)) v(m) ORDER BY 2")
                .rows);
}

TEST_F(Sessions, WindowsEqualPlainSql) {
  run("CREATE TOPIC e (ts TIMESTAMP, v INTEGER)");
  run("INSERT INTO e SELECT TIMESTAMP '2024-01-01' + INTERVAL (i * 97) SECOND, i FROM range(200) "
      "r(i)");
  const auto tumble = run(
      "SELECT window_start, window_end, sum(v) FROM TUMBLE(e, ts, INTERVAL 10 MINUTE) GROUP BY ALL "
      "ORDER BY 1");
  EXPECT_EQ(tumble.rows, run("SELECT time_bucket(INTERVAL 10 MINUTE, ts) AS s, s + INTERVAL 10 "
                             "MINUTE, sum(v) FROM e GROUP BY ALL ORDER BY 1")
                             .rows);
  EXPECT_THAT(tumble.rows, SizeIs(33));
  for (const char* size : {"10 MINUTE", "12 MINUTE", "2 MINUTE"}) {
    const std::string interval = std::string("INTERVAL ") + size;
    const auto hop =
        run("SELECT window_start, window_end, count(*), sum(v) FROM HOP((SELECT * FROM "
            "e WHERE v > 3), ts, INTERVAL 5 MINUTE, " +
            interval + ") GROUP BY ALL ORDER BY 1");
    const auto plain = run(
        "SELECT s, s + " + interval +
        ", count(*), sum(v) FROM (SELECT unnest(generate_series("
        "TIMESTAMP '2023-12-31', TIMESTAMP '2024-01-02', INTERVAL 5 MINUTE)) AS s) JOIN e ON ts >= "
        "s AND ts < s + " +
        interval + " WHERE v > 3 GROUP BY ALL ORDER BY 1");
    EXPECT_EQ(hop.rows, plain.rows) << size;
    EXPECT_FALSE(hop.rows.empty());
  }
}

TEST_F(Sessions, SplitsScriptsByTheirSemicolons) {
  if (!session) session = engine->connect("ada", "millrace").value();
  const auto pieces =
      session->split("SELECT ';' ; -- a; b\nSELECT \"a;b\" /* ; /* ; */ */; SELECT $x$ ; $x$;;  ");
  ASSERT_TRUE(pieces.has_value());
  EXPECT_THAT(*pieces, ElementsAre("SELECT ';'", "SELECT \"a;b\"", "SELECT $x$ ; $x$"));
  const auto open = session->split("SELECT 'a");
  ASSERT_FALSE(open.has_value());
  EXPECT_EQ(open.error().code, ErrorCode::kSyntax);
  EXPECT_EQ(open.error().position, 7u);
}

TEST_F(Sessions, TakesEmptyStatements) {
  session = engine->connect("ada", "millrace").value();
  for (const char* sql : {"", "  -- nothing\n", ";"}) {
    auto statement = session->prepare(sql, {});
    ASSERT_TRUE(statement.has_value()) << sql;
    EXPECT_TRUE((*statement)->is_empty()) << sql;
  }
}

TEST_F(Sessions, GivesErrorsTheirCodeAndPosition) {
  run("CREATE TABLE t (id INTEGER PRIMARY KEY, name VARCHAR)");
  struct Case {
    const char* sql;
    ErrorCode code;
    std::optional<size_t> position;
  };
  for (const auto& [sql, code, position] : std::vector<Case>{
           {"SELEC 1", ErrorCode::kSyntax, 0},
           {"SELECT 1 FROM", ErrorCode::kSyntax, std::nullopt},
           {"SELECT * FROM nope", ErrorCode::kUndefinedObject, 14},
           {"SELECT nme FROM t", ErrorCode::kUndefinedColumn, 7},
           {"SELECT foo(1)", ErrorCode::kUndefinedFunction, 7},
           {"SELECT 'x'::INTEGER", ErrorCode::kInvalidText, std::nullopt},
           {"SELECT 300::TINYINT", ErrorCode::kInvalidText, std::nullopt},
           {"ATTACH 'x.db'", ErrorCode::kNotSupported, std::nullopt},
           {"CREATE INDEX i ON t (name)", ErrorCode::kNotSupported, std::nullopt},
           {"SELECT 1 FROM range(3) a(i) ASOF RIGHT JOIN range(3) b(i) ON a.i >= b.i",
            ErrorCode::kNotSupported, std::nullopt},
           {"SELECT (SELECT count(*) FROM range(3) a(i) ASOF FULL JOIN range(3) b(i) ON a.i >= "
            "b.i)",
            ErrorCode::kNotSupported, std::nullopt},
           {"SELECT 1 FROM range(3) a(i) ASOF JOIN range(3) b(i) ON a.i IS NOT DISTINCT FROM b.i "
            "AND a.i >= b.i",
            ErrorCode::kNotSupported, std::nullopt},
           {"ALTER TABLE t ADD COLUMN x INTEGER", ErrorCode::kNotSupported, std::nullopt},
           {"SELECT * FROM read_csv('/nonexistent.csv')", ErrorCode::kNotFound, std::nullopt},
       }) {
    const auto error = error_of(sql);
    EXPECT_EQ(info(error.code).name, info(code).name) << sql << ": " << error.text;
    if (position) EXPECT_EQ(error.position, position) << sql;
  }
  EXPECT_THAT(error_of("SELECT nme FROM t").hint, HasSubstr("name"));
}

TEST_F(Sessions, StreamsLargeResultsAndCanBeInterrupted) {
  session = engine->connect("ada", "millrace").value();
  auto statement = session->prepare("SELECT i FROM range(1000000000000) r(i)", {}).value();
  auto cursor = session->execute(*statement, {}).value();
  ASSERT_TRUE(cursor->fetch().has_value());
  session->interrupt();
  Error error;
  for (int i = 0; i < 100000; ++i) {
    auto chunk = cursor->fetch();
    if (!chunk) {
      error = chunk.error();
      break;
    }
  }
  EXPECT_EQ(error.code, ErrorCode::kCancelled);
  cursor.reset();
  EXPECT_EQ(run("SELECT 1").tag, "SELECT 1");
}

TEST_F(Sessions, CopiesTextAndCsvIn) {
  run("CREATE TABLE t (id INTEGER PRIMARY KEY, name VARCHAR, d DATE)");
  const auto copied = [&](const std::vector<std::string>& columns, const char* format, bool header,
                          const char* data) -> uint64_t {
    auto result = session->copy_in("t", columns, format, header, data);
    if (!result) ADD_FAILURE() << result.error().text;
    return std::move(result).value_or(uint64_t{0});
  };
  EXPECT_EQ(copied({}, "text", false, "1\ta\\tb\t2024-01-01\n2\t\\N\t\\N\n"), 2u);
  EXPECT_EQ(copied({"name", "id"}, "csv", true, "name,id\n\"x, \"\"y\"\"\",3\r\n,4\n"), 2u);
  EXPECT_THAT(run("SELECT * FROM t ORDER BY id").rows,
              ElementsAre(row({"1", "a\tb", "2024-01-01"}), row({"2", "NULL", "NULL"}),
                          row({"3", "x, \"y\"", "NULL"}), row({"4", "NULL", "NULL"})));
  auto bad = session->copy_in("t", {}, "text", false, "x\ty\tz\n");
  ASSERT_FALSE(bad.has_value());
  EXPECT_EQ(bad.error().code, ErrorCode::kInvalidText);
}

TEST_F(Sessions, CopiesFromFiles) {
  run("CREATE TABLE t (id INTEGER PRIMARY KEY, name VARCHAR)");
  const auto path = ::testing::TempDir() + "millrace_copy.csv";
  std::ofstream(path) << "id,name\n1,a\n2,b\n";
  EXPECT_EQ(run("COPY t FROM '" + path + "' (HEADER)").tag, "COPY 2");
  EXPECT_THAT(run("SELECT * FROM t ORDER BY id").rows,
              ElementsAre(row({"1", "a"}), row({"2", "b"})));
}

TEST_F(Sessions, SeesNewObjectsInPreparedStatements) {
  run("CREATE TABLE t (id INTEGER PRIMARY KEY)");
  auto statement = session->prepare("SELECT * FROM t", {}).value();
  run("CREATE TABLE u (id INTEGER PRIMARY KEY)");
  run("INSERT INTO t VALUES (5)");
  auto cursor = session->execute(*statement, {});
  ASSERT_TRUE(cursor.has_value()) << cursor.error().text;
  auto chunk = (*cursor)->fetch();
  ASSERT_TRUE(chunk.has_value() && *chunk);
  EXPECT_EQ((*chunk)->GetValue(0, 0).ToString(), "5");
}

TEST_F(Sessions, IsIdleAfterACommitThatFails) {
  run("CREATE TABLE t (id INTEGER PRIMARY KEY)");
  run("BEGIN");
  run("INSERT INTO t VALUES (1)");
  run("SELECT * FROM t");
  host.relations.at("t")->fail_next = Error{ErrorCode::kUniqueViolation, "key 1 exists"};
  EXPECT_EQ(error_of("COMMIT").code, ErrorCode::kUniqueViolation);
  EXPECT_EQ(session->transaction_state(), TransactionState::kIdle);
  EXPECT_EQ(run("INSERT INTO t VALUES (1)").tag, "INSERT 0 1");
}

TEST_F(Sessions, InfersParameterTypesFromColumns) {
  run("CREATE TABLE t (id INTEGER PRIMARY KEY, name VARCHAR)");
  auto insert = session->prepare("INSERT INTO t VALUES ($1, $2)", {}).value();
  EXPECT_THAT(insert->parameters(),
              ElementsAre(duckdb::LogicalType::INTEGER, duckdb::LogicalType::VARCHAR));
  EXPECT_THAT(insert->names(), IsEmpty());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(session->execute(*insert, {duckdb::Value::INTEGER(i), "x"}).has_value());
  }
  auto select = session->prepare("SELECT name FROM t WHERE id = ?", {}).value();
  EXPECT_THAT(select->parameters(), ElementsAre(duckdb::LogicalType::INTEGER));
  EXPECT_THAT(run("SELECT count(*) FROM t WHERE id < $1", {duckdb::Value::INTEGER(2)}).rows,
              ElementsAre(row({"2"})));
  auto few = session->execute(*select, {});
  ASSERT_FALSE(few.has_value());
  EXPECT_EQ(few.error().code, ErrorCode::kProtocol);
}

TEST_F(Sessions, ComputesInUtc) {
  EXPECT_THAT(run("SELECT TIMESTAMPTZ '2024-07-01 12:00:00+02'::TIMESTAMP").rows,
              ElementsAre(row({"2024-07-01 10:00:00"})));
}

TEST_F(Sessions, SetsWhatIsItsOwnAndNothingOfTheNode) {
  const std::string limit = run("SELECT current_setting('memory_limit')").rows.at(0).at(0);
  for (const char* sql :
       {"SET memory_limit = '1KiB'", "SET GLOBAL memory_limit = '1KiB'", "SET threads = 1",
        "SET SESSION max_expression_depth = 100000000", "SET enable_external_access = false",
        "SET errors_as_json = false", "SET GLOBAL default_null_order = 'nulls_first'",
        "SET GLOBAL TimeZone = 'Europe/Berlin'", "RESET memory_limit", "RESET GLOBAL threads",
        "PRAGMA memory_limit = '1KiB'", "PRAGMA threads = 1", "PRAGMA enable_profiling",
        "PRAGMA disable_optimizer", "EXPLAIN ANALYZE SET threads = 1"}) {
    const auto error = error_of(sql);
    EXPECT_EQ(error.code, ErrorCode::kNotSupported) << sql << ": " << error.text;
    EXPECT_THAT(error.hint, HasSubstr("search_path")) << sql;
  }
  EXPECT_EQ(run("SELECT current_setting('memory_limit')").rows.at(0).at(0), limit);
  EXPECT_EQ(run("SET search_path = 'public'").tag, "SET");
  EXPECT_EQ(run("RESET search_path").tag, "RESET");
  EXPECT_EQ(run("SET TimeZone = 'UTC'").tag, "SET");
  run("SET VARIABLE x = 7");
  EXPECT_THAT(run("SELECT getvariable('x')").rows, ElementsAre(row({"7"})));
  EXPECT_THAT(run("PRAGMA database_list").rows, SizeIs(::testing::Gt(0u)));
  run("SET default_null_order = 'nulls_first'");
  const char* ordered = "SELECT * FROM (VALUES (1), (NULL)) v(x) ORDER BY x";
  EXPECT_THAT(run(ordered).rows, ElementsAre(row({"NULL"}), row({"1"})));
  session = engine->connect("ben", "millrace").value();
  EXPECT_THAT(run(ordered).rows, ElementsAre(row({"1"}), row({"NULL"})));
}

TEST_F(Sessions, ListsObjectsInDuckDbsCatalogViews) {
  run("CREATE TABLE t (id INTEGER PRIMARY KEY)");
  run("CREATE VIEW v AS SELECT id FROM t");
  EXPECT_THAT(
      run("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'").rows,
      UnorderedElementsAre(row({"t"}), row({"v"})));
  EXPECT_THAT(run("SELECT column_name FROM information_schema.columns WHERE table_name = 'v'").rows,
              ElementsAre(row({"id"})));
  EXPECT_THAT(run("SELECT relname FROM pg_catalog.pg_class WHERE relname = 't'").rows,
              ElementsAre(row({"t"})));
}

}  // namespace
}  // namespace millrace::sql::testing

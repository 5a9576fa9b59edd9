#include <gmock/gmock.h>

#include "catalog/replacement.h"
#include "sql/detail/fakes.h"
#include "sql/view_options.h"

namespace millrace::sql::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class Ddl : public EngineTest {
 protected:
  catalog::Object object(const std::string& name) {
    const auto* found = catalog.snapshot()->find(name);
    if (!found) {
      ADD_FAILURE() << name << " does not exist";
      return {};
    }
    return *found;
  }
};

std::vector<std::string> row(std::initializer_list<std::string> values) { return values; }

TEST_F(Ddl, CreatesATopicFromItsColumnsWatermarkAndOptions) {
  EXPECT_EQ(run("CREATE TOPIC orders (id BIGINT NOT NULL, -- a comment, with a comma\n"
                "  WATERMARK FOR ts AS ts - INTERVAL '5 seconds', ts TIMESTAMP,\n"
                "  items STRUCT(sku VARCHAR, n INTEGER)[], attrs MAP(VARCHAR, DOUBLE), d "
                "DECIMAL(10, 2)) WITH (partitions = 3, retention = INTERVAL '2 days', "
                "on_error = reject, 'max.message.bytes' = 1000, segment.bytes = 2000)")
                .tag,
            "CREATE TOPIC");
  const auto made = object("orders");
  EXPECT_EQ(made.kind, catalog::Kind::kTopic);
  EXPECT_EQ(made.partitions, 3);
  ASSERT_THAT(made.columns, SizeIs(5));
  EXPECT_EQ(made.columns[0], (catalog::Column{"id", "BIGINT", true, ""}));
  EXPECT_EQ(made.columns[2].type, "STRUCT(sku VARCHAR, n INTEGER)[]");
  EXPECT_EQ(made.columns[3].type, "MAP(VARCHAR, DOUBLE)");
  EXPECT_EQ(made.columns[4].type, "DECIMAL(10,2)");
  ASSERT_TRUE(made.watermark.has_value());
  EXPECT_EQ(made.watermark->column, "ts");
  EXPECT_EQ(made.watermark->expression, "ts - INTERVAL '5 seconds'");
  EXPECT_EQ(made.options, (std::map<std::string, std::string>{{"format", "json"},
                                                              {"max.message.bytes", "1000"},
                                                              {"on_error", "reject"},
                                                              {"retention.ms", "172800000"},
                                                              {"segment.bytes", "2000"}}));
  EXPECT_THAT(host.calls, ElementsAre("created orders"));
}

TEST_F(Ddl, ItsCanonicalTextMakesTheSameObject) {
  for (const char* sql :
       {"CREATE TOPIC t (a INTEGER, ts TIMESTAMPTZ, WATERMARK FOR ts AS ts) WITH (partitions=2)",
        "create topic t", "CREATE TABLE t (\"Odd Name\" VARCHAR DEFAULT 'x''y', k INT PRIMARY KEY)",
        "CREATE TABLE t (a INTEGER, b DATE, PRIMARY KEY (b, a)) WITH ('retention.ms' = -1)"}) {
    run(sql);
    const auto first = object("t");
    const auto again = run("APPLY " + run("SHOW CREATE t").rows.at(0).at(0));
    EXPECT_EQ(again.rows.at(0).at(0), "unchanged") << first.sql;
    run(first.kind == catalog::Kind::kTopic ? "DROP TOPIC t" : "DROP TABLE t");
  }
}

TEST_F(Ddl, RefusesBadDefinitionsSayingWhereAndWhatToDo) {
  struct Case {
    const char* sql;
    ErrorCode code;
    std::optional<size_t> position;
    const char* hint;
  };
  for (const auto& [sql, code, position, hint] : std::vector<Case>{
           {"CREATE TABLE t (a INTEGER)", ErrorCode::kSyntax, {}, "PRIMARY KEY"},
           {"CREATE TABLE t AS SELECT 1", ErrorCode::kNotSupported, 15, "INSERT INTO"},
           {"CREATE TABLE t", ErrorCode::kSyntax, 14, ""},
           {"CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER UNIQUE)",
            ErrorCode::kNotSupported,
            {},
            ""},
           {"CREATE TABLE t (a NOSUCH PRIMARY KEY)", ErrorCode::kTypeMismatch, {}, ""},
           {"CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGR(", ErrorCode::kSyntax, 48, ""},
           {"CREATE TABLE t (a INTEGER x y z)", ErrorCode::kSyntax, 26, ""},
           {"CREATE TOPIC t (a INTEGER PRIMARY KEY)", ErrorCode::kNotSupported, {}, "CREATE TABLE"},
           {"CREATE TOPIC t (_a INTEGER)", ErrorCode::kInvalidName, {}, ""},
           {"CREATE TOPIC t (a INTEGER,)", ErrorCode::kSyntax, 26, ""},
           {"CREATE TOPIC t (a INTEGER) WITH (partitions = 0)", ErrorCode::kInvalidPartitions, 46,
            ""},
           {"CREATE TOPIC t (a INTEGER) WITH (retention = soon)", ErrorCode::kInvalidConfig, 45,
            "INTERVAL"},
           {"CREATE TOPIC t (a INTEGER) WITH (x = 1, x = 2)", ErrorCode::kSyntax, 40, ""},
           {"CREATE TOPIC t (a INTEGER, WATERMARK FOR a AS a)", ErrorCode::kTypeMismatch, {}, ""},
           {"CREATE TOPIC t (a TIMESTAMP, WATERMARK FOR b AS a)",
            ErrorCode::kUndefinedColumn,
            {},
            ""},
           {"CREATE TOPIC t (a TIMESTAMP, WATERMARK FOR a AS b)", ErrorCode::kUndefinedColumn, 48,
            ""},
           {"CREATE TOPIC t (a TIMESTAMP, WATERMARK FOR a AS 1)", ErrorCode::kTypeMismatch, 48, ""},
           {"CREATE TOPIC a.t (a INTEGER)", ErrorCode::kUndefinedObject, 13, "public"},
           {"CREATE TOPIC 5", ErrorCode::kSyntax, 13, ""},
           {"CREATE OR REPLACE TOPIC IF NOT EXISTS t", ErrorCode::kSyntax, {}, ""},
           {"CREATE VIEW v AS INSERT INTO t VALUES (1)", ErrorCode::kSyntax, {}, ""},
           {"CREATE VIEW v AS SELECT * FROM nope", ErrorCode::kUndefinedObject, 31, ""},
           {"CREATE VIEW v AS SELECT 1 AS a, 2 AS A", ErrorCode::kInvalidName, {}, "AS name"},
           {"CREATE VIEW v (a) AS SELECT 1", ErrorCode::kNotSupported, 14, "AS name"},
           {"CREATE MATERIALIZED VIEW v AS SELECT 1 + 1", ErrorCode::kInvalidName, 39, "AS name"},
           {"CREATE MATERIALIZED VIEW v AS SELECT 1 + 1 EMIT CHANGES", ErrorCode::kInvalidName, 39,
            "AS name"},
           {"CREATE VIEW v AS SELECT 1 AS a EMIT CHANGES", ErrorCode::kSyntax, 31, ""},
           {"CREATE MATERIALIZED VIEW v AS SELECT 1 AS a EMIT SOMETIMES", ErrorCode::kSyntax, 44,
            ""},
           {"CREATE MATERIALIZED VIEW v WITH (retention = 1) AS SELECT 1 AS a",
            ErrorCode::kInvalidConfig, 33, "allowed_lateness"},
           {"CREATE MATERIALIZED VIEW v WITH (late = 'away') AS SELECT 1 AS a",
            ErrorCode::kInvalidConfig, 40, ""},
           {"CREATE MATERIALIZED VIEW v WITH (allowed_lateness = 'long') AS SELECT 1 AS a",
            ErrorCode::kInvalidConfig, 52, "10 seconds"},
           {"CREATE TOPIC t (a INT) WITH (watermark_idle_timeout = 'soon')",
            ErrorCode::kInvalidConfig, 54, "never"},
           {"DROP TABLE nope", ErrorCode::kUndefinedObject, 11, ""},
           {"SHOW CREATE nope", ErrorCode::kUndefinedObject, 12, ""},
           {"APPLY DROP TABLE t", ErrorCode::kSyntax, 6, "CREATE"},
       }) {
    const auto error = error_of(sql);
    EXPECT_EQ(info(error.code).name, info(code).name) << sql << ": " << error.text;
    if (position) EXPECT_EQ(error.position, position) << sql << ": " << error.text;
    EXPECT_THAT(error.hint, HasSubstr(hint)) << sql;
  }
  EXPECT_THAT(catalog.snapshot()->list(), IsEmpty());
}

TEST_F(Ddl, AMaterializedViewSaysWhenItsRowsComeOutAndHowLongItWaits) {
  run("CREATE TOPIC e (k INTEGER, ts TIMESTAMP, WATERMARK FOR ts AS ts) WITH "
      "(watermark_idle_timeout = '2 minutes')");
  EXPECT_EQ(object("e").options.at("watermark.idle.timeout.ms"), "120000");
  run("CREATE MATERIALIZED VIEW v WITH (late = drop, allowed_lateness = '1500ms') AS SELECT ts, k "
      "FROM e EMIT ON WINDOW CLOSE;");
  const auto options = ViewOptions::of(object("v"));
  EXPECT_TRUE(options.emit_on_window_close);
  EXPECT_EQ(options.allowed_lateness.count(), 1500);
  EXPECT_FALSE(options.keep_late);
  EXPECT_EQ(object("v").query, "SELECT ts, k FROM e");
  const auto sql = run("SHOW CREATE v").rows.at(0).at(0);
  EXPECT_EQ(sql,
            "CREATE MATERIALIZED VIEW v WITH (allowed_lateness = '1500 milliseconds', late = "
            "'drop') AS\nSELECT ts, k FROM e\nEMIT ON WINDOW CLOSE");
  EXPECT_EQ(run("APPLY " + sql).rows.at(0).at(0), "unchanged");
  run("CREATE MATERIALIZED VIEW w AS SELECT ts AS emit FROM e EMIT CHANGES");
  EXPECT_FALSE(ViewOptions::of(object("w")).emit_on_window_close);
  EXPECT_EQ(object("w").query, "SELECT ts AS emit FROM e");
}

TEST_F(Ddl, ChecksAMaterializedViewBeforeItExists) {
  run("CREATE TOPIC e (k INTEGER, v INTEGER)");
  host.refuse = Error{ErrorCode::kNotSupported, "WINDOW is not supported", 3};
  const auto error =
      error_of("CREATE MATERIALIZED VIEW v AS SELECT k, sum(v) AS s FROM e GROUP BY k");
  EXPECT_EQ(error.code, ErrorCode::kNotSupported);
  EXPECT_EQ(catalog.snapshot()->find("v"), nullptr);
  host.refuse.reset();
  EXPECT_EQ(run("CREATE MATERIALIZED VIEW v AS SELECT k, sum(v) AS s FROM e GROUP BY k").tag,
            "CREATE MATERIALIZED VIEW");
  const auto view = object("v");
  EXPECT_THAT(view.depends_on, ElementsAre("e"));
  ASSERT_THAT(view.columns, SizeIs(2));
  EXPECT_EQ(view.columns[1], (catalog::Column{"s", "HUGEINT", false, ""}));
  EXPECT_EQ(view.query, "SELECT k, sum(v) AS s FROM e GROUP BY k");
}

TEST_F(Ddl, RefusesParametersInAView) {
  run("CREATE TOPIC e (k INTEGER, v INTEGER)");
  const std::string create = "CREATE VIEW v AS ";
  for (const std::string query :
       {"SELECT $1", "SELECT k FROM e WHERE v > ?", "SELECT k FROM (SELECT * FROM e) LIMIT $1",
        "WITH c AS (SELECT $2 AS x) SELECT x FROM c", "SELECT * FROM range($n)",
        "SELECT k FROM e WHERE k IN (SELECT $1::INTEGER)", "VALUES ($1)"}) {
    const auto error = error_of(create + query);
    EXPECT_EQ(error.code, ErrorCode::kNotSupported) << query << ": " << error.text;
    EXPECT_THAT(error.text, HasSubstr("parameters")) << query;
  }
  EXPECT_EQ(error_of("CREATE MATERIALIZED VIEW v AS SELECT k + $1 AS x FROM e").code,
            ErrorCode::kNotSupported);
  EXPECT_EQ(catalog.snapshot()->find("v"), nullptr);
}

TEST_F(Ddl, LeavesRoomForTheNameOfATopicsDeadLetters) {
  const std::string fits(237, 'x'), longer(238, 'x');
  run("CREATE TOPIC " + fits + " (k INTEGER)");
  const auto error = error_of("CREATE TOPIC " + longer + " (k INTEGER)");
  EXPECT_EQ(error.code, ErrorCode::kInvalidName);
  EXPECT_THAT(error.hint, HasSubstr("on_error = 'reject'"));
  EXPECT_EQ(catalog.snapshot()->find(longer), nullptr);
  run("CREATE TOPIC " + longer + " (k INTEGER) WITH (on_error = 'skip')");
  run("CREATE TOPIC " + longer + "raw");
}

TEST_F(Ddl, UndoesACreationThatTheHostCannotServe) {
  host.fail_created = Error{ErrorCode::kDiskFull, "no room"};
  EXPECT_EQ(error_of("CREATE TABLE t (a INTEGER PRIMARY KEY)").code, ErrorCode::kDiskFull);
  EXPECT_EQ(catalog.snapshot()->find("t"), nullptr);
}

TEST_F(Ddl, DropsOnlyWhatNothingReads) {
  run("CREATE TOPIC e (k INTEGER)");
  run("CREATE VIEW v AS SELECT k FROM e");
  run("CREATE MATERIALIZED VIEW m AS SELECT k FROM v");
  EXPECT_THAT(object("m").depends_on, ElementsAre("v"));
  const auto error = error_of("DROP TOPIC e");
  EXPECT_EQ(error.code, ErrorCode::kDependentObjects);
  EXPECT_THAT(error.text, HasSubstr("v"));
  EXPECT_THAT(error_of("DROP VIEW m").hint, HasSubstr("DROP MATERIALIZED VIEW m"));
  EXPECT_EQ(error_of("DROP VIEW v").code, ErrorCode::kDependentObjects);
  run("DROP MATERIALIZED VIEW m");
  run("DROP VIEW v");
  EXPECT_EQ(run("DROP TOPIC e").tag, "DROP TOPIC");
  EXPECT_EQ(run("DROP TOPIC IF EXISTS e").tag, "DROP TOPIC");
  EXPECT_THAT(host.calls, ElementsAre("created e", "created m", "dropping m", "dropping e"));
}

TEST_F(Ddl, AppliesWhatDiffers) {
  const std::string topic = "CREATE TOPIC e (k INTEGER)";
  EXPECT_THAT(run("APPLY DRY RUN " + topic).rows, ElementsAre(row({"would create", "topic", "e"})));
  EXPECT_EQ(catalog.snapshot()->find("e"), nullptr);
  EXPECT_THAT(run("APPLY DRY RUN CREATE VIEW v AS SELECT k FROM e").rows,
              ElementsAre(row({"would create", "view", "v"})));
  EXPECT_THAT(run("APPLY " + topic).rows, ElementsAre(row({"created", "topic", "e"})));
  EXPECT_THAT(run("APPLY create   topic E ( k int )").rows,
              ElementsAre(row({"unchanged", "topic", "E"})));
  const std::string wider = "CREATE TOPIC e (k INTEGER, v INTEGER)";
  EXPECT_THAT(run("APPLY DRY RUN " + wider).rows,
              ElementsAre(row({"would replace", "topic", "e"})));
  EXPECT_THAT(object("e").columns, SizeIs(1));
  EXPECT_THAT(run("APPLY " + wider).rows, ElementsAre(row({"replaced", "topic", "e"})));
  EXPECT_EQ(object("e").version, 2u);
  EXPECT_EQ(error_of("CREATE TOPIC e").code, ErrorCode::kDuplicateObject);
  run("CREATE TOPIC IF NOT EXISTS e");
  EXPECT_THAT(object("e").columns, SizeIs(2));
}

TEST_F(Ddl, KeepsColumnsThatOthersRead) {
  run("CREATE TOPIC e (k INTEGER, v INTEGER)");
  run("CREATE VIEW w AS SELECT k FROM e");
  EXPECT_EQ(error_of("CREATE OR REPLACE TOPIC e (v INTEGER)").code, ErrorCode::kDependentObjects);
  run("CREATE OR REPLACE TOPIC e (k INTEGER, v INTEGER, x DATE)");
  EXPECT_EQ(error_of("CREATE OR REPLACE TABLE e (k INTEGER PRIMARY KEY)").code,
            ErrorCode::kDuplicateObject);
}

TEST_F(Ddl, ReplacesAViewOnlyWhenNothingBreaks) {
  run("CREATE TOPIC e (k INTEGER, v INTEGER)");
  for (const std::string kind : {"VIEW", "MATERIALIZED VIEW"}) {
    run("CREATE " + kind + " w AS SELECT k, v FROM e");
    run("CREATE MATERIALIZED VIEW m AS SELECT k FROM w");
    for (const std::string how : {"CREATE OR REPLACE ", "APPLY CREATE ", "APPLY DRY RUN CREATE "}) {
      const auto error = error_of(how + kind + " w AS SELECT v FROM e");
      EXPECT_EQ(error.code, ErrorCode::kDependentObjects) << how << kind;
      EXPECT_THAT(error.text, HasSubstr(kind == "VIEW" ? "m reads it" : "m uses \"k\""));
      EXPECT_THAT(error.hint, HasSubstr("rop m first"));
    }
    EXPECT_EQ(object("w").query, "SELECT k, v FROM e");
    run("CREATE OR REPLACE " + kind + " w AS SELECT k, v FROM e");
    EXPECT_EQ(object("w").version, 1u);
    run("DROP MATERIALIZED VIEW m");
    if (kind != "VIEW") continue;
    run("CREATE OR REPLACE VIEW w AS SELECT v FROM e");
    EXPECT_EQ(object("w").query, "SELECT v FROM e");
    run("DROP VIEW w");
  }
}

/// The query of what is made beside the view, which stays as it is.
std::string replacement(const catalog::Snapshot& snapshot) {
  const auto* next = catalog::replacement_of(snapshot, "w");
  return next ? next->query : "none";
}

TEST_F(Ddl, ReplacesAMaterializedViewByOneBesideIt) {
  run("CREATE TOPIC e (k INTEGER, v INTEGER)");
  run("CREATE MATERIALIZED VIEW w AS SELECT k, v FROM e");
  const auto now = [&] { return replacement(*catalog.snapshot()); };
  EXPECT_THAT(run("APPLY DRY RUN CREATE MATERIALIZED VIEW w AS SELECT v FROM e").rows,
              ElementsAre(row({"would replace", "materialized view", "w"})));
  EXPECT_EQ(now(), "none");
  const std::string other = "APPLY CREATE MATERIALIZED VIEW w AS SELECT v FROM e";
  EXPECT_THAT(run(other).rows, ElementsAre(row({"replaced", "materialized view", "w"})));
  EXPECT_THAT(run(other).rows, ElementsAre(row({"unchanged", "materialized view", "w"})));
  EXPECT_EQ(now(), "SELECT v FROM e");
  EXPECT_EQ(object("w").query, "SELECT k, v FROM e");
  EXPECT_THAT(run("SHOW VIEWS").rows, SizeIs(1));
  const auto read = error_of("CREATE MATERIALIZED VIEW m AS SELECT k FROM w");
  EXPECT_EQ(read.code, ErrorCode::kDependentObjects);
  EXPECT_THAT(read.text, HasSubstr("\"w\" is being replaced"));
  EXPECT_THAT(error_of("ALTER MATERIALIZED VIEW w PAUSE").text, HasSubstr("cannot be paused now"));
  EXPECT_THAT(error_of("DROP TOPIC e").text, HasSubstr("w reads it"));
  run("CREATE OR REPLACE MATERIALIZED VIEW w AS SELECT v + 1 AS v FROM e");
  EXPECT_EQ(now(), "SELECT v + 1 AS v FROM e");
  run("CREATE OR REPLACE MATERIALIZED VIEW w AS SELECT k, v FROM e");
  EXPECT_EQ(now(), "none");
  run(other);
  host.refuse = Error{ErrorCode::kNotSupported, "no"};
  EXPECT_EQ(error_of("CREATE OR REPLACE MATERIALIZED VIEW w AS SELECT k FROM e").text, "no");
  EXPECT_EQ(now(), "SELECT v FROM e");
  run("DROP MATERIALIZED VIEW w");
  EXPECT_EQ(now(), "none");
  EXPECT_THAT(run("SHOW ALL").rows, SizeIs(1));
}

TEST_F(Ddl, RefusesToReplaceATableByOneThatWouldLoseRows) {
  run("CREATE TABLE t (k INTEGER PRIMARY KEY, n VARCHAR, d DATE NOT NULL)");
  for (const char* columns :
       {"k INTEGER, n VARCHAR PRIMARY KEY, d DATE NOT NULL", "k INTEGER PRIMARY KEY, n VARCHAR",
        "k INTEGER PRIMARY KEY, d DATE NOT NULL, n VARCHAR",
        "k BIGINT PRIMARY KEY, n VARCHAR, d DATE NOT NULL",
        "k INTEGER PRIMARY KEY, n VARCHAR NOT NULL, d DATE NOT NULL",
        "k INTEGER PRIMARY KEY, n VARCHAR, d DATE NOT NULL, x DATE NOT NULL",
        "k INTEGER, n VARCHAR, d DATE NOT NULL, PRIMARY KEY (k, d)"}) {
    const auto error = error_of(std::string("CREATE OR REPLACE TABLE t (") + columns + ")");
    EXPECT_EQ(error.code, ErrorCode::kNotSupported) << columns;
    EXPECT_THAT(error.text, HasSubstr("would lose rows")) << columns;
    EXPECT_THAT(error.hint, HasSubstr("Create a new table")) << columns;
  }
  EXPECT_EQ(object("t").version, 1u);
  run("CREATE OR REPLACE TABLE t (k INTEGER PRIMARY KEY, n VARCHAR DEFAULT 'x', d DATE, x DATE) "
      "WITH ('retention.ms' = -1)");
  EXPECT_EQ(object("t").version, 2u);
  EXPECT_THAT(object("t").columns, SizeIs(4));
}

TEST_F(Ddl, ShowsAndDescribes) {
  run("CREATE TOPIC e (k INTEGER NOT NULL) WITH (partitions = 2)");
  run("CREATE TABLE t (k INTEGER PRIMARY KEY, n VARCHAR DEFAULT 'x')");
  run("CREATE VIEW v AS SELECT k, count(*) AS n FROM e GROUP BY k");
  EXPECT_THAT(run("SHOW TOPICS").rows, ElementsAre(row({"e", "2", "json", "k INTEGER"})));
  EXPECT_THAT(run("SHOW TABLES").rows, ElementsAre(row({"t", "k", "k INTEGER, n VARCHAR"})));
  EXPECT_THAT(run("SHOW VIEWS").rows,
              ElementsAre(row({"v", "view", "SELECT k, count(*) AS n FROM e GROUP BY k"})));
  EXPECT_THAT(run("SHOW ALL").rows, SizeIs(3));
  EXPECT_THAT(run("DESCRIBE t").rows,
              ElementsAre(row({"k", "INTEGER", "no", "primary key", "NULL", "no"}),
                          row({"n", "VARCHAR", "yes", "", "'x'", "no"})));
  EXPECT_THAT(run("DESCRIBE e").rows, SizeIs(6));
  EXPECT_THAT(run("DESCRIBE v").rows[1], ElementsAre("n", "BIGINT", "yes", "", "NULL", "no"));
  EXPECT_THAT(run("DESCRIBE SELECT 1 AS a").rows, SizeIs(1));
}

TEST_F(Ddl, ExplainsAViewsDataflowAndAQuerysPlan) {
  run("CREATE TOPIC e (k INTEGER)");
  run("CREATE MATERIALIZED VIEW m AS SELECT k FROM e");
  EXPECT_EQ(error_of("EXPLAIN m").code, ErrorCode::kNotSupported);  // the fake host's answer
  EXPECT_THAT(run("EXPLAIN SELECT k FROM e WHERE k > 1").rows.at(0).at(1),
              HasSubstr("MILLRACE_SCAN"));
}

TEST_F(Ddl, IsSeenAtOnceInATransaction) {
  run("BEGIN");
  run("CREATE TABLE t (k INTEGER PRIMARY KEY)");
  run("INSERT INTO t VALUES (1)");
  run("COMMIT");
  EXPECT_THAT(run("SELECT * FROM t").rows, ElementsAre(row({"1"})));
}

TEST_F(Ddl, ReadsTheExamplesOfTheFlights) {
  run("CREATE TABLE airlines (carrier VARCHAR PRIMARY KEY, name VARCHAR NOT NULL)");
  run("CREATE TOPIC flights (event VARCHAR NOT NULL,    -- departed, arrived, diverted, cancelled\n"
      "  event_time TIMESTAMP NOT NULL, carrier VARCHAR, hour TIMESTAMP,\n"
      "  WATERMARK FOR event_time AS event_time - INTERVAL '5 minutes'\n"
      ") WITH (partitions = 2, format = 'json', 'retention.ms' = -1)");
  EXPECT_EQ(object("flights").options.at("retention.ms"), "-1");
  run("CREATE MATERIALIZED VIEW in_the_air AS\n"
      "SELECT a.name AS airline, sum(CASE f.event WHEN 'departed' THEN 1 ELSE -1 END) AS flights,\n"
      "  count(*) FILTER (f.event = 'departed') AS departed\n"
      "FROM flights f JOIN airlines a ON a.carrier = f.carrier GROUP BY a.name");
  EXPECT_THAT(object("in_the_air").depends_on, ElementsAre("airlines", "flights"));
  run("CREATE MATERIALIZED VIEW by_hour AS SELECT carrier, window_start AS hour, count(*) AS n "
      "FROM TUMBLE(flights, event_time, INTERVAL '1 hour') GROUP BY carrier, window_start, "
      "window_end");
}

}  // namespace
}  // namespace millrace::sql::testing

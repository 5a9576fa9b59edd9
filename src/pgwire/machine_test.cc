#include "pgwire/detail/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "pgwire/detail/test_client.h"

namespace millrace::pgwire::detail {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST(Startup, TellsSettingsAndKeyAndIsReady) {
  TestClient client(false);
  EXPECT_THAT(client.send(say::startup()),
              AllOf(StartsWith("R S("), HasSubstr("S(server_version=15.0 (Millrace "),
                    HasSubstr("S(client_encoding=UTF8)"), HasSubstr("S(DateStyle=ISO, MDY)"),
                    HasSubstr("S(integer_datetimes=on)"), HasSubstr("S(TimeZone=UTC)"),
                    HasSubstr("S(standard_conforming_strings=on)"),
                    HasSubstr("S(session_authorization=me)"), EndsWith("K Z(I)")));
}

TEST(Startup, RefusesEncryptionAndGoesOn) {
  TestClient client(false);
  std::string ssl, gss;
  put<int32_t>(ssl, 8);
  put<int32_t>(ssl, 80877103);
  put<int32_t>(gss, 8);
  put<int32_t>(gss, 80877104);
  EXPECT_EQ(client.send_raw(gss), "N");
  EXPECT_EQ(client.send_raw(ssl), "N");
  EXPECT_THAT(client.send(say::startup()), EndsWith("Z(I)"));
}

TEST(Startup, NegotiatesNewerMinorVersionsAndUnknownOptions) {
  TestClient client(false);
  std::string extra = say::text("_pq_.strange") + say::text("1");
  EXPECT_THAT(client.send(say::startup((3 << 16) | 2, extra)), StartsWith("v R "));
}

TEST(Startup, RefusesOtherProtocols) {
  TestClient client(false);
  EXPECT_EQ(client.send(say::startup(2 << 16)), "E(0A000)");
  EXPECT_TRUE(client.closed);
  EXPECT_THAT(client.connection.close_reason(), HasSubstr("unsupported frontend protocol"));
}

TEST(Startup, TellsWhyThereIsNoSession) {
  TestClient client(false);
  std::string extra = say::text("database") + say::text("nowhere");
  EXPECT_EQ(client.send(say::startup(3 << 16, extra)), "E(42P01)");
  EXPECT_TRUE(client.closed);
}

TEST(Startup, TakesSettingsFromTheClient) {
  TestClient client(false);
  std::string extra;
  for (auto t : {"application_name", "test", "options", "-c extra_float_digits=3"}) {
    extra += say::text(t);
  }
  EXPECT_THAT(client.send(say::startup(3 << 16, extra)), HasSubstr("S(application_name=test)"));
  EXPECT_EQ(client.query("SHOW extra_float_digits"), "T(extra_float_digits:25) D(3) C(SHOW) Z(I)");
}

TEST(Cancel, GoesToTheOneNamedAndIsNotAnswered) {
  TestClient client(false);
  std::string bytes;
  put<int32_t>(bytes, 16);
  put<int32_t>(bytes, 80877102);
  put<int32_t>(bytes, 42);
  put<int32_t>(bytes, 99);
  EXPECT_EQ(client.send_raw(bytes), "");
  EXPECT_TRUE(client.closed);
  EXPECT_EQ(client.cancelled, std::pair(42, 99));
}

TEST(SimpleQuery, RunsSeveralStatements) {
  TestClient client;
  EXPECT_EQ(client.query("SELECT 1 AS a, 'x' AS b; SELECT true AS c"),
            "T(a:23,b:25) D(1|x) C(SELECT 1) T(c:16) D(t) C(SELECT 1) Z(I)");
}

TEST(SimpleQuery, AnswersNothingToNothing) {
  TestClient client;
  EXPECT_EQ(client.query(""), "I Z(I)");
  EXPECT_EQ(client.query(" ; "), "I Z(I)");
}

TEST(SimpleQuery, StopsAtTheFirstError) {
  TestClient client;
  EXPECT_EQ(client.query("SELECT 1 AS a; SELEC 2; SELECT 3 AS c"),
            "T(a:23) D(1) C(SELECT 1) E(42601@16) Z(I)");
}

TEST(SimpleQuery, CountsThePositionInCharacters) {
  TestClient client;
  EXPECT_THAT(client.query("SELECT 'é€' AS a; SELEC 2"), EndsWith("E(42601@19) Z(I)"));
}

TEST(SimpleQuery, TellsCommandsTheirTags) {
  TestClient client;
  EXPECT_EQ(client.query("CREATE TABLE t(a INTEGER)"), "C(CREATE) Z(I)");
  EXPECT_EQ(client.query("INSERT INTO t VALUES (1), (2)"), "C(INSERT 0 2) Z(I)");
  EXPECT_EQ(client.query("SELECT $1::int"), "E(42P02) Z(I)");
}

TEST(SimpleQuery, StreamsInPiecesOfBoundedSize) {
  TestClient client;
  std::string answer = client.query("SELECT range::VARCHAR AS a FROM range(50000)");
  EXPECT_THAT(answer,
              AllOf(StartsWith("T(a:25) D(0) D(1)"), EndsWith("D(49999) C(SELECT 50000) Z(I)")));
  EXPECT_LT(client.largest_write, Machine::kOutputBytes + 1000);
}

TEST(Transactions, ShowTheirStateAndFailAsAWhole) {
  TestClient client;
  EXPECT_EQ(client.query("CREATE TABLE t(a INTEGER)"), "C(CREATE) Z(I)");
  EXPECT_EQ(client.query("BEGIN ISOLATION LEVEL READ COMMITTED"), "C(BEGIN) Z(T)");
  EXPECT_EQ(client.query("INSERT INTO t VALUES (1)"), "C(INSERT 0 1) Z(T)");
  EXPECT_EQ(client.query("SELEC"), "E(42601@1) Z(E)");
  EXPECT_EQ(client.query("SELECT 1"), "E(25P02) Z(E)");
  EXPECT_EQ(client.query("COMMIT"), "C(ROLLBACK) Z(I)");
  EXPECT_EQ(client.query("SELECT count(*) AS n FROM t"), "T(n:20) D(0) C(SELECT 1) Z(I)");
  EXPECT_EQ(client.query("START TRANSACTION; INSERT INTO t VALUES (1); END"),
            "C(BEGIN) C(INSERT 0 1) C(COMMIT) Z(I)");
  EXPECT_EQ(client.query("ROLLBACK"), "N(25P01) C(ROLLBACK) Z(I)");
  EXPECT_EQ(client.query("BEGIN; BEGIN"), "C(BEGIN) N(25001) C(BEGIN) Z(T)");
}

TEST(ExtendedQuery, ParsesBindsDescribesAndExecutes) {
  TestClient client;
  EXPECT_EQ(client.send(say::parse("s", "SELECT $1::int + 1 AS a") + say::describe('S', "s") +
                        say::bind("p", "s", {"41"}) + say::describe('P', "p") + say::execute("p") +
                        say::sync()),
            "1 t(23) T(a:23) 2 T(a:23) D(42) C(SELECT 1) Z(I)");
  EXPECT_EQ(client.send(say::bind("", "s", {"1"}) + say::execute("") + say::close('S', "s") +
                        say::close('S', "s") + say::sync()),
            "2 D(2) C(SELECT 1) 3 3 Z(I)");
  EXPECT_EQ(client.send(say::bind("", "s", {"1"}) + say::sync()), "E(26000) Z(I)");
}

TEST(ExtendedQuery, SendsBinaryResults) {
  TestClient client;
  std::string bytes = client.send_raw(say::parse("", "SELECT 258::INTEGER AS a") +
                                      say::bind("", "", {}, true) + say::execute(""));
  std::string row = say::message('D', std::string("\0\1\0\0\0\4\0\0\1\2", 10));
  EXPECT_THAT(bytes, HasSubstr(row));
}

TEST(ExtendedQuery, SkipsAfterAnErrorUntilSync) {
  TestClient client;
  EXPECT_EQ(
      client.send(say::parse("", "SELECT 1/0 FROM nope") + say::bind("", "") + say::execute("") +
                  say::query("SELECT 1") + say::sync() + say::query("SELECT 1 AS a")),
      "E(42P01@17) Z(I) T(a:23) D(1) C(SELECT 1) Z(I)");
}

TEST(ExtendedQuery, ReportsAValueThatDoesNotFitItsType) {
  TestClient client;
  EXPECT_EQ(
      client.send(say::parse("", "SELECT $1::int", {23}) + say::bind("", "", {"x"}) + say::sync()),
      "1 E(22P02) Z(I)");
  EXPECT_EQ(client.send(say::parse("", "SELECT $1::int", {23}) + say::bind("", "") + say::sync()),
            "1 E(08P01) Z(I)");
}

TEST(ExtendedQuery, AnswersAnEmptyStatement) {
  TestClient client;
  EXPECT_EQ(client.send(say::parse("", "") + say::describe('S', "") + say::bind("", "") +
                        say::execute("") + say::sync()),
            "1 t n 2 I Z(I)");
}

TEST(Portals, SuspendAtTheLimitAndGoOn) {
  TestClient client;
  client.query("BEGIN");
  EXPECT_EQ(client.send(say::parse("", "SELECT range AS a FROM range(5)") + say::bind("p", "") +
                        say::execute("p", 2) + say::flush()),
            "1 2 D(0) D(1) s");
  EXPECT_EQ(client.send(say::execute("p", 2) + say::execute("p", 2) + say::sync()),
            "D(2) D(3) s D(4) C(SELECT 1) Z(T)");
  EXPECT_EQ(client.query("COMMIT"), "C(COMMIT) Z(I)");
  EXPECT_EQ(client.send(say::execute("p") + say::sync()), "E(34000) Z(I)");
}

TEST(Portals, KeepTheirRowsWhileAnotherStatementRuns) {
  TestClient client;
  client.query("BEGIN");
  EXPECT_EQ(client.send(say::parse("a", "SELECT range AS a FROM range(10000)") +
                        say::bind("p", "a") + say::execute("p", 1) + say::parse("b", "SELECT 7") +
                        say::bind("q", "b") + say::execute("q") + say::sync()),
            "1 2 D(0) s 1 2 D(7) C(SELECT 1) Z(T)");
  EXPECT_THAT(client.send(say::execute("p") + say::sync()),
              AllOf(StartsWith("D(1) D(2)"), EndsWith("D(9999) C(SELECT 9999) Z(T)")));
}

TEST(Portals, DoNotRunAnInsertTwice) {
  TestClient client;
  client.query("CREATE TABLE t(a INTEGER)");
  EXPECT_EQ(client.send(say::parse("", "INSERT INTO t VALUES (1)") + say::bind("", "") +
                        say::execute("") + say::execute("") + say::sync()),
            "1 2 C(INSERT 0 1) E(55000) Z(I)");
}

TEST(Cursors, AreDeclaredFetchedAndClosed) {
  TestClient client;
  EXPECT_EQ(client.query("DECLARE c CURSOR FOR SELECT 1"), "E(25P01) Z(I)");
  EXPECT_EQ(client.query("BEGIN; DECLARE c NO SCROLL CURSOR FOR SELECT range AS a FROM range(5)"),
            "C(BEGIN) C(DECLARE CURSOR) Z(T)");
  EXPECT_EQ(client.query("FETCH FORWARD 2 FROM c"), "T(a:20) D(0) D(1) C(FETCH 2) Z(T)");
  EXPECT_EQ(client.query("MOVE 1 IN c"), "C(MOVE 1) Z(T)");
  EXPECT_EQ(client.query("SELECT 9 AS b"), "T(b:23) D(9) C(SELECT 1) Z(T)");
  EXPECT_EQ(client.query("FETCH ALL c"), "T(a:20) D(3) D(4) C(FETCH 2) Z(T)");
  EXPECT_EQ(client.query("FETCH c"), "T(a:20) C(FETCH 0) Z(T)");
  EXPECT_EQ(client.query("CLOSE c"), "C(CLOSE CURSOR) Z(T)");
  EXPECT_EQ(client.query("FETCH c"), "E(34000) Z(E)");
}

TEST(Settings, AreSetShownAndReset) {
  TestClient client;
  EXPECT_EQ(client.query("SET application_name TO 'x y'"), "S(application_name=x y) C(SET) Z(I)");
  EXPECT_EQ(client.query("SHOW application_name"), "T(application_name:25) D(x y) C(SHOW) Z(I)");
  EXPECT_EQ(client.query("RESET application_name"), "S(application_name=) C(RESET) Z(I)");
  EXPECT_EQ(client.query("SET client_encoding = latin1"), "E(0A000) Z(I)");
  EXPECT_EQ(client.query("SET TimeZone = 'Europe/Berlin'"), "N(01000) S(TimeZone=UTC) C(SET) Z(I)");
  EXPECT_EQ(client.query("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"), "C(SET) Z(I)");
  EXPECT_EQ(client.query("SET search_path TO \"$user\", public; SHOW search_path"),
            "C(SET) T(search_path:25) D($user, public) C(SHOW) Z(I)");
  EXPECT_EQ(client.query("SET search_path TO elsewhere"), "E(0A000) Z(I)");
  EXPECT_EQ(client.query("SET threads = 2"), "C(SET) Z(I)");  // the engine's
  EXPECT_EQ(
      client.send(say::parse("", "SHOW transaction isolation level") + say::describe('S', "") +
                  say::bind("", "") + say::execute("") + say::sync()),
      "1 t T(transaction_isolation:25) 2 D(repeatable read) C(SHOW) Z(I)");
}

TEST(Settings, AreToldWithinStatements) {
  TestClient client;
  EXPECT_EQ(client.query("SELECT current_setting('jit') AS a, pg_catalog.set_config('JIT', 'o' || "
                         "'ff', false) AS b, version() LIKE 'PostgreSQL 15%' AS c"),
            "T(a:25,b:25,c:16) D(off|off|t) C(SELECT 1) Z(I)");
  EXPECT_EQ(client.query("SELECT pg_backend_pid() AS a, pg_is_in_recovery() AS b, "
                         "pg_catalog.pg_get_userbyid(abs(10)) AS c"),
            "T(a:23,b:16,c:25) D(7|f|me) C(SELECT 1) Z(I)");
  EXPECT_THAT(client.query("SELECT pg_catalog.pg_get_userbyid(10) AS a"), HasSubstr("D(me)"));
  EXPECT_THAT(client.query("SELECT current_setting('threads') IS NULL AS a, 'version()' AS b"),
              HasSubstr("D(f|version())"));
  EXPECT_EQ(client.send(say::parse("", "WITH RECURSIVE typeinfo_tree(oid) AS (...)") +
                        say::bind("", "", {"{1007}"}) + say::describe('S', "") + say::sync()),
            "1 2 t(1028) T(oid:23,ns:25,name:25,kind:25,basetype:20,elemtype:23,elemdelim:25,"
            "range_subtype:20,attrtypoids:25,attrnames:25,depth:23,basetype_name:25,"
            "elemtype_name:25,range_subtype_name:25) Z(I)");
}

TEST(LocalStatements, AreAnswered) {
  TestClient client;
  EXPECT_EQ(client.query("LISTEN x; UNLISTEN *; DISCARD ALL; CLOSE ALL; DEALLOCATE ALL; RESET ALL"),
            "C(LISTEN) C(UNLISTEN) C(DISCARD ALL) C(CLOSE CURSOR ALL) C(DEALLOCATE ALL) "
            "S(application_name=) S(client_encoding=UTF8) C(RESET) Z(I)");
  EXPECT_EQ(client.query("DEALLOCATE nope"), "E(26000) Z(I)");
}

TEST(Copy, WritesTextCsvAndBinary) {
  TestClient client;
  client.query("CREATE TABLE t(a INTEGER, b VARCHAR)");
  client.query("INSERT INTO t VALUES (1, 'x\ty'), (2, NULL), (3, 'a\"b,c')");
  EXPECT_EQ(client.query("COPY t TO STDOUT"),
            "H d(1\tx\\ty\n) d(2\t\\N\n) d(3\ta\"b,c\n) c C(COPY 3) Z(I)");
  EXPECT_EQ(
      client.query("COPY (SELECT b, a FROM t WHERE a > 1) TO STDOUT WITH (FORMAT csv, HEADER)"),
      "H d(b,a\n) d(,2\n) d(\"a\"\"b,c\",3\n) c C(COPY 2) Z(I)");
  std::string one = client.send_raw(say::query("COPY (SELECT 1) TO STDOUT (FORMAT binary)"));
  EXPECT_THAT(one,
              HasSubstr(std::string("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\0\1\0\0\0\4\0\0\0\1", 29)));
}

TEST(Copy, CollectsWhatTheClientSends) {
  TestClient client;
  EXPECT_EQ(client.query("COPY \"T\" (a, b) FROM STDIN WITH CSV HEADER"), "G");
  EXPECT_EQ(client.send(say::message('d', "a,b\n1,") + say::flush() + say::message('d', "2\n")),
            "");
  EXPECT_EQ(client.send(say::message('c')), "C(COPY 2) Z(I)");
  EXPECT_EQ(client.engine.last->copied, "T(a,b) csv header: a,b\n1,2\n");
}

TEST(Copy, EndsWithAnErrorWhenTheClientGivesUp) {
  TestClient client;
  EXPECT_EQ(client.query("COPY t FROM STDIN"), "G");
  EXPECT_EQ(client.send(say::message('d', "1\n") + say::message('f', say::text("no"))),
            "E(57014) Z(I)");
  EXPECT_EQ(client.query("COPY missing FROM STDIN"), "G");
  EXPECT_EQ(client.send(say::message('c')), "E(42P01) Z(I)");
  EXPECT_EQ(client.query("COPY t FROM STDIN (DELIMITER '|')"), "E(0A000) Z(I)");
}

TEST(Shutdown, IsToldToTheClient) {
  TestClient client;
  EXPECT_EQ(client.connection.shut_down(), Connection::Todo::kClose);
  EXPECT_EQ(told(client.connection.take_output()), "E(57P01)");
}

// ---- hostile bytes

TEST(Frames, EndTheConnectionWhenTheyAreMalformed) {
  struct Case {
    std::string bytes, reason;
  };
  for (const Case& c : {
           Case{std::string("Q\0\0\0\3", 5), "invalid message length"},
           Case{std::string("Q\x7f\xff\xff\xff", 5), "invalid message length"},
           Case{std::string("Q\xff\xff\xff\xff", 5), "invalid message length"},
           Case{std::string("?\0\0\0\4", 5), "invalid frontend message type"},
           Case{say::message('Q', "no zero"), "malformed Query"},
           Case{say::message('P', "x"), "malformed Parse"},
           Case{say::message('B', "x"), "malformed Bind"},
           Case{say::message('D', "Xx\0"), "malformed Describe"},
           Case{say::message('p', "secret\0"), "password"},
       }) {
    TestClient client;
    EXPECT_THAT(client.send(c.bytes), StartsWith("E(08P01")) << c.reason;
    EXPECT_TRUE(client.closed) << c.reason;
    EXPECT_THAT(client.connection.close_reason(), HasSubstr(c.reason));
  }
}

TEST(Frames, OfTheStartupPhaseAreBounded) {
  TestClient client(false);
  EXPECT_EQ(client.send(std::string("\0\1\0\0", 4)), "E(08P01)");
  EXPECT_TRUE(client.closed);
}

std::string conversation() {
  return say::query("SELECT 1 AS a; SELECT 'x'") + say::parse("s", "SELECT $1::int AS a", {23}) +
         say::bind("p", "s", {"41"}) + say::describe('P', "p") + say::execute("p", 1) +
         say::close('P', "p") + say::sync() + say::query("COPY t FROM STDIN") +
         say::message('d', "1\n") + say::message('c');
}

TEST(Frames, MayComeInAnyPieces) {
  TestClient whole;
  std::string expected = whole.send(conversation());
  TestClient pieces;
  std::string answers;
  for (char byte : conversation()) answers += pieces.send_raw(std::string_view(&byte, 1));
  EXPECT_EQ(told(answers), expected);
  EXPECT_THAT(expected, Not(HasSubstr("E(")));
}

TEST(Frames, CutAnywhereLeaveTheServerWaiting) {
  std::string bytes = conversation();
  FakeEngine engine;
  for (size_t cut = 0; cut < bytes.size(); cut++) {
    TestClient client(true, &engine);
    client.send(std::string_view(bytes).substr(0, cut));
    EXPECT_FALSE(client.closed) << cut;
  }
}

TEST(Frames, WithAnyByteChangedDoNoHarm) {
  std::string bytes = say::startup() + conversation();
  std::mt19937 random(1);
  FakeEngine engine;
  for (size_t at = 0; at < bytes.size(); at++) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ (1 + random() % 255));
    TestClient client(false, &engine);
    client.send_raw(changed);  // whatever it answers: it is well formed and it comes back
  }
}

TEST(Endless, SendsWhatIsThereAndWaitsForMore) {
  TestClient client;
  client.engine.feed.put({1, 2});
  EXPECT_EQ(client.query("SUBSCRIBE TO v"), "T(n:20) D(1) D(2)");
  EXPECT_TRUE(client.awaiting);
  EXPECT_EQ(client.send(""), "");
  EXPECT_TRUE(client.awaiting);
  EXPECT_EQ(client.wakes, 0);
  client.engine.feed.put({3});
  EXPECT_EQ(client.wakes, 1);
  EXPECT_EQ(client.send(""), "D(3)");
  client.connection.interrupt();
  EXPECT_EQ(client.wakes, 2);
  EXPECT_EQ(client.send(""), "E(57014) Z(I)");
  EXPECT_EQ(client.engine.feed.open, 0);
  EXPECT_EQ(client.query("SELECT 1 AS a"), "T(a:23) D(1) C(SELECT 1) Z(I)");
}

TEST(Endless, IsCopiedOutUntilItFails) {
  TestClient client;
  client.engine.feed.put({1});
  EXPECT_EQ(client.query("COPY (SUBSCRIBE TO v) TO STDOUT"), "H d(1\n)");
  client.engine.feed.fail(Error{ErrorCode::kUndefinedObject, "dropped"});
  EXPECT_EQ(client.send(""), "E(42P01) Z(I)");
  EXPECT_EQ(client.engine.feed.open, 0);
}

TEST(Endless, IsFetchedInPartsAndWithATimeout) {
  TestClient client;
  auto& feed = client.engine.feed;
  EXPECT_EQ(client.query("BEGIN; DECLARE c CURSOR FOR SUBSCRIBE TO v"),
            "C(BEGIN) C(DECLARE CURSOR) Z(T)");
  EXPECT_EQ(client.query("FETCH ALL c WITH (timeout = '0s')"), "T(n:20) C(FETCH 0) Z(T)");
  feed.put({1, 2, 3});
  EXPECT_EQ(client.query("FETCH 2 c"), "T(n:20) D(1) D(2) C(FETCH 2) Z(T)");
  // Without a timeout: what is there.
  EXPECT_EQ(client.query("FETCH 10 c"), "T(n:20) D(3) C(FETCH 1) Z(T)");
  EXPECT_EQ(client.query("FETCH ALL c"), "T(n:20)");  // waits for a row
  EXPECT_TRUE(client.awaiting);
  EXPECT_FALSE(client.connection.await_until());
  feed.put({4, 5});
  EXPECT_EQ(client.send(""), "D(4) D(5) C(FETCH 2) Z(T)");
  EXPECT_EQ(client.query("FETCH 3 c WITH (timeout = '1 hour')"), "E(42601@27) Z(E)");
}

TEST(Endless, WaitsForAsManyRowsAsAreFetchedUntilTheTimeIsOver) {
  TestClient client;
  auto& feed = client.engine.feed;
  client.query("BEGIN; DECLARE c CURSOR FOR SUBSCRIBE TO v");
  feed.put({1});
  EXPECT_EQ(client.query("FETCH 2 c WITH (timeout = '60 min')"), "T(n:20) D(1)");
  EXPECT_TRUE(client.connection.await_until());
  feed.put({2, 3});
  EXPECT_EQ(client.send(""), "D(2) C(FETCH 2) Z(T)");
  EXPECT_EQ(client.query("FETCH 2 c WITH (timeout '20ms')"), "T(n:20) D(3)");
  std::this_thread::sleep_until(*client.connection.await_until());
  EXPECT_EQ(client.send(""), "C(FETCH 1) Z(T)");
  // The session does other things meanwhile, without the rest being fetched.
  EXPECT_EQ(client.query("SELECT 1 AS a"), "T(a:23) D(1) C(SELECT 1) Z(T)");
  EXPECT_EQ(feed.open, 1);
  EXPECT_EQ(client.query("ROLLBACK"), "C(ROLLBACK) Z(I)");
  EXPECT_EQ(feed.open, 0);
}

TEST(Endless, HoldsNoMoreOfAClientThatSendsAheadThanItsLimit) {
  TestClient client;
  EXPECT_EQ(client.query("SUBSCRIBE TO v"), "T(n:20)");
  const std::string flood = say::query("SELECT 1" + std::string(Machine::kAheadBytesMax, ' '));
  EXPECT_EQ(client.send(flood), "E(08P01)");
  EXPECT_TRUE(client.closed);
}

}  // namespace
}  // namespace millrace::pgwire::detail

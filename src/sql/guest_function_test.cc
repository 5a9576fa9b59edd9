#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>

#include "broker/transforms.h"
#include "sql/detail/fakes.h"
#include "wasm/engine.h"

namespace millrace::sql::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> row(std::initializer_list<std::string> values) { return values; }

/// Function `same` of test/clients/scalars.wat: gives its argument; 1 never ends, 2 traps, 3 is
/// refused, 4 gives too few bytes.
class GuestFunctions : public EngineTest {
 protected:
  GuestFunctions() : folder_(std::filesystem::temp_directory_path() / unique()) {
    auto opened = broker::Transforms::open(runtime, *env, catalog, broker, {.path = folder_});
    MR_CHECK(opened.has_value());
    transforms_ = std::move(*opened);
    broker.set_transforms(transforms_.get());
    run(create("same(BIGINT) RETURNS BIGINT"));
  }
  ~GuestFunctions() override {
    session.reset();
    engine.reset();
    transforms_.reset();
    std::filesystem::remove_all(folder_);
  }
  static std::string unique() {
    return "millrace_guests_" + std::to_string(getpid()) + "_" + Uuid::random().to_string();
  }
  static std::string create(const std::string& signature, const std::string& rest = "") {
    return "CREATE FUNCTION " + signature + " LANGUAGE wasm FROM '" MR_SCALARS_WAT "' " + rest;
  }
  static std::string replace(const std::string& signature, const std::string& rest = "") {
    return "CREATE OR REPLACE" + create(signature, rest).substr(std::string("CREATE").size());
  }

  const std::filesystem::path folder_;
  std::unique_ptr<broker::Transforms> transforms_;
};

TEST_F(GuestFunctions, AreCalledForChunksOfEachType) {
  run(create("same_text(VARCHAR) RETURNS VARCHAR", "EXPORT same"));
  run(create("same_bytes(b BLOB) RETURNS BLOB", "EXPORT same"));
  run(create("same_double(DOUBLE PRECISION) RETURNS DOUBLE", "EXPORT same"));
  run(create("same_bool(BOOLEAN) RETURNS BOOLEAN", "EXPORT same"));
  EXPECT_THAT(
      run("SELECT same(7), same_text('Straße, and more than twelve bytes'), same_bytes('\\xFFa'), "
          "same_double(2.5), same_bool(1 > 2), same(NULL), same_text('')")
          .rows,
      ElementsAre(
          row({"7", "Straße, and more than twelve bytes", "\\xFFa", "2.5", "false", "NULL", ""})));
  EXPECT_THAT(
      run("SELECT count(*), sum(same(i)), count(DISTINCT same_text(CASE WHEN i % 3 > 0 THEN 'x' || "
          "i "
          "END)), sum(same_double(i / 2)) FROM range(5, 10005) t(i)")
          .rows,
      ElementsAre(
          run("SELECT count(*), sum(i), count(DISTINCT CASE WHEN i % 3 > 0 THEN 'x' || i END), "
              "sum(i / 2) FROM range(5, 10005) t(i)")
              .rows.at(0)));
  EXPECT_THAT(run("SELECT same(i) FROM range(9) t(i) WHERE same(i + 10) > 17").rows,
              ElementsAre(row({"8"})));
}

TEST_F(GuestFunctions, FailTheirQueryAlone) {
  // More than pause a module, were they anybody's but the query's.
  for (int i = 0; i < 60; ++i) {
    EXPECT_EQ(error_of("SELECT same(i) FROM range(2, 3) t(i)").code, ErrorCode::kGuestFailed);
    EXPECT_THAT(error_of("SELECT same(i) FROM range(3, 4) t(i)").text, HasSubstr("three"));
    EXPECT_THAT(error_of("SELECT same(i) FROM range(4, 5) t(i)").text,
                AllOf(HasSubstr("3 bytes"), HasSubstr("BIGINT has 8")));
  }
  EXPECT_EQ(error_of("SELECT same(i) FROM range(1, 2) t(i)").code, ErrorCode::kGuestFailed);
  EXPECT_EQ(error_of("SELECT same(2)").code, ErrorCode::kGuestFailed);
  EXPECT_THAT(run("SELECT same(5)").rows, ElementsAre(row({"5"})));
  run(create("text(BLOB) RETURNS VARCHAR", "EXPORT same"));
  EXPECT_THAT(error_of("SELECT text('\\xFF'::BLOB)").text, HasSubstr("UTF-8"));
}

TEST_F(GuestFunctions, AreWhatViewsDependOn) {
  run("CREATE VIEW v AS SELECT same(5) AS five");
  EXPECT_THAT(run("SELECT * FROM v").rows, ElementsAre(row({"5"})));
  EXPECT_THAT(error_of("DROP FUNCTION same").text, HasSubstr("view \"v\""));
  EXPECT_EQ(error_of(replace("same(BLOB) RETURNS BIGINT")).code, ErrorCode::kDependentObjects);
  run(replace("same(BIGINT) RETURNS BIGINT", "WITH (time_slice = '20 ms')"));
  EXPECT_THAT(run("SELECT * FROM v").rows, ElementsAre(row({"5"})));
  topic("t", {{"n", "BIGINT"}});
  run("CREATE MATERIALIZED VIEW m AS SELECT five + n AS n FROM v, t");
  // Its rows were made by the function as it is.
  EXPECT_THAT(error_of(replace("same(BIGINT) RETURNS BIGINT")).text,
              AllOf(HasSubstr("\"m\""), HasSubstr("keeps rows")));
  EXPECT_TRUE(engine->plan("SELECT same(n) AS n FROM t WHERE same(n) > 3"));
  run("DROP MATERIALIZED VIEW m");
  run("DROP VIEW v");
  run("DROP FUNCTION same");
  EXPECT_EQ(error_of("SELECT same(5)").code, ErrorCode::kUndefinedFunction);
}

TEST_F(GuestFunctions, AreWhatDefaultsAndWatermarksDependOn) {
  run("CREATE TABLE t (k INTEGER PRIMARY KEY, n BIGINT DEFAULT same(7))");
  EXPECT_THAT(error_of("DROP FUNCTION same").text,
              HasSubstr("function \"same\" cannot be dropped: table \"t\" uses it"));
  EXPECT_THAT(error_of(replace("same(VARCHAR) RETURNS VARCHAR")).text,
              HasSubstr("table \"t\" calls it with other types"));
  EXPECT_THAT(error_of(replace("same")).text, HasSubstr("table \"t\" calls it with other types"));
  run(replace("same(BIGINT) RETURNS BIGINT", "WITH (time_slice = '5 ms')"));
  run("DROP TABLE t");
  run("CREATE TOPIC w (ts TIMESTAMP, WATERMARK FOR ts AS ts - to_seconds(same(7)))");
  EXPECT_THAT(error_of("DROP FUNCTION same").text, HasSubstr("topic \"w\" uses it"));
  EXPECT_THAT(error_of(replace("same(DOUBLE) RETURNS DOUBLE")).text,
              HasSubstr("topic \"w\" calls it with other types"));
  run(replace("same(BIGINT) RETURNS BIGINT", "WITH (time_slice = '6 ms')"));
  run("CREATE MATERIALIZED VIEW late AS SELECT count(*) AS n FROM w");
  EXPECT_THAT(error_of(replace("same(BIGINT) RETURNS BIGINT", "WITH (time_slice = '7 ms')")).text,
              HasSubstr("materialized view \"late\" keeps rows that it made"));
  run("DROP MATERIALIZED VIEW late");
  run("CREATE OR REPLACE TOPIC w (ts TIMESTAMP, WATERMARK FOR ts AS ts)");
  run("DROP FUNCTION same");
  EXPECT_THAT(error_of("CREATE TABLE t (k INTEGER PRIMARY KEY, n BIGINT DEFAULT same(7))").text,
              HasSubstr("the default of column \"n\": "));
}

TEST_F(GuestFunctions, AreShownAndAppliedInOneSpelling) {
  run(create("f(a TEXT, BIGINT) RETURNS BOOL", "EXPORT same WITH (memory = '16 MiB')"));
  const auto shown = run("SHOW CREATE f").rows.at(0).at(0);
  EXPECT_THAT(shown, AllOf(HasSubstr("CREATE FUNCTION f(a VARCHAR, BIGINT) RETURNS BOOLEAN "),
                           HasSubstr("EXPORT same WITH (memory = 16777216)")));
  EXPECT_THAT(run("APPLY " + shown).rows, ElementsAre(row({"unchanged", "function", "f"})));
  EXPECT_THAT(run("APPLY DRY RUN " + create("g(BIGINT) RETURNS BIGINT")).rows,
              ElementsAre(row({"would create", "function", "g"})));
  EXPECT_EQ(error_of("SELECT g(1)").code, ErrorCode::kUndefinedFunction);
}

TEST_F(GuestFunctions, TellWhatCannotBe) {
  const auto refused = [&](const std::string& statement, ErrorCode code) {
    const auto error = error_of(statement);
    EXPECT_EQ(error.code, code) << statement << ": " << error.text;
    return error.text + " " + error.hint;
  };
  EXPECT_THAT(refused(create("f(HUGEINT) RETURNS BIGINT"), ErrorCode::kNotSupported),
              HasSubstr("BIGINT"));
  refused(create("f(BIGINT)"), ErrorCode::kSyntax);
  EXPECT_THAT(refused(create("lower(VARCHAR) RETURNS VARCHAR"), ErrorCode::kDuplicateObject),
              HasSubstr("lower()"));
  EXPECT_THAT(
      refused(create("f(BIGINT) RETURNS BIGINT", "EXPORT no"), ErrorCode::kUndefinedFunction),
      HasSubstr("same (scalar)"));
  refused(create("f(BIGINT) RETURNS BIGINT", "EXPORT same(a => 1)"), ErrorCode::kInvalidArgument);
  EXPECT_THAT(refused(create("f(BIGINT) RETURNS BIGINT", "WITH (memory = '1 TiB')"),
                      ErrorCode::kInvalidArgument),
              HasSubstr("allows"));
  refused(create("f(BIGINT) RETURNS BIGINT", "WITH (look_back = 5)"), ErrorCode::kSyntax);
  refused(create("f", "WITH (memory = 5)"), ErrorCode::kSyntax);
}

}  // namespace
}  // namespace millrace::sql::testing

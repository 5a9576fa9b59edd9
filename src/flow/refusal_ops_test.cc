#include <gtest/gtest.h>

#include "flow/detail/ops_harness.h"

namespace millrace::flow {
namespace {

const std::vector<std::string> kSchema = {
    "CREATE TABLE a(id BIGINT, k INTEGER, s VARCHAR, ts TIMESTAMP)",
    "CREATE TABLE b(id BIGINT, k INTEGER, ts TIMESTAMP)"};

struct Refused {
  const char* query;
  const char* says;
};

TEST(Refusals, NameWhatCannotBeKeptUpToDate) {
  const std::vector<Refused> cases = {
      {"WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT * FROM "
       "t, a",
       "WITH RECURSIVE"},
      {"SELECT id, random() FROM a", "random()"},
      {"SELECT uuid(), count(*) FROM a GROUP BY 1", "uuid()"},
      {"SELECT * FROM a USING SAMPLE 10%", "sample"},
      {"SELECT * FROM a POSITIONAL JOIN b", "a POSITIONAL join"},
      {"SELECT rowid FROM a", "rowid"},
      {"SELECT * FROM duckdb_tables()", "reading from"},
  };
  Oracle oracle(kSchema, {});
  for (const auto& [query, says] : cases) {
    const auto view = oracle.translate(query);
    ASSERT_FALSE(view) << query;
    EXPECT_EQ(view.error().code, ErrorCode::kNotSupported) << query << "\n" << view.error().text;
    EXPECT_NE(view.error().text.find(says), std::string::npos) << query << "\n"
                                                               << view.error().text;
  }
}

TEST(Refusals, PointAtTheExpression) {
  Oracle oracle(kSchema, {});
  const auto view = oracle.translate("SELECT id, k + random() FROM a");
  ASSERT_FALSE(view);
  EXPECT_EQ(view.error().position, 15u);
}

TEST(Describe, ShowsTheOperatorsIndented) {
  Oracle oracle(kSchema, {"a"});
  auto view = oracle.translate(
      "SELECT a.k, count(*) n FROM a JOIN b ON a.k = b.k WHERE a.s = 'x' GROUP BY a.k");
  ASSERT_TRUE(view);
  const auto text = (*view)->flow->describe();
  EXPECT_NE(text.find("aggregate count_star by k\n"), std::string::npos) << text;
  EXPECT_NE(text.find("join on (k) = (k)"), std::string::npos) << text;
  EXPECT_NE(text.find("    stream a\n"), std::string::npos) << text;
  EXPECT_NE(text.find("changes of b\n"), std::string::npos) << text;
  EXPECT_FALSE((*view)->flow->append_only());
}

TEST(AppendOnly, IsKnownOfADataflow) {
  Oracle oracle(kSchema, {"a"});
  const auto append_only = [&](const std::string& query) {
    auto view = oracle.translate(query);
    EXPECT_TRUE(view) << query;
    return (*view)->flow->append_only();
  };
  EXPECT_TRUE(append_only("SELECT id + 1 FROM a WHERE k > 2"));
  EXPECT_TRUE(append_only("SELECT DISTINCT k FROM a"));
  EXPECT_TRUE(append_only("SELECT x.id FROM a x JOIN a y ON x.k = y.k"));
  EXPECT_FALSE(append_only("SELECT k, count(*) FROM a GROUP BY k"));
  EXPECT_FALSE(append_only("SELECT a.id FROM a JOIN b ON a.k = b.k"));
  EXPECT_FALSE(append_only("SELECT x.id, y.id FROM a x LEFT JOIN a y ON x.k = y.id"));
}

}  // namespace
}  // namespace millrace::flow

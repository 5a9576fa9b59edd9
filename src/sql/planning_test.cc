#include <fmt/format.h>
#include <gmock/gmock.h>

#include <duckdb/planner/operator/logical_get.hpp>
#include <functional>

#include "sql/clock_conditions.h"
#include "sql/detail/fakes.h"

namespace millrace::sql::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Planning : public EngineTest {
 protected:
  Planning() {
    topic("o", {{"ok", "BIGINT"},
                {"ck", "BIGINT"},
                {"total", "DOUBLE"},
                {"d", "DATE"},
                {"ts", "TIMESTAMP"},
                {"tags", "VARCHAR[]"}});
    topic("l", {{"ok", "BIGINT"},
                {"pk", "BIGINT"},
                {"qty", "DOUBLE"},
                {"price", "DOUBLE"},
                {"ship", "DATE"}});
    table("c", {{"ck", "BIGINT"}, {"name", "VARCHAR"}}, {"ck"});
  }
  PlannedQuery planned(const std::string& query) {
    auto result = engine->plan(query);
    if (!result) {
      ADD_FAILURE() << query << ": " << result.error().text;
      return {};
    }
    return std::move(*result);
  }
  static std::vector<duckdb::LogicalGet*> scans(duckdb::LogicalOperator& op) {
    std::vector<duckdb::LogicalGet*> found;
    std::function<void(duckdb::LogicalOperator&)> walk = [&](duckdb::LogicalOperator& at) {
      if (scanned_object(at)) found.push_back(&at.Cast<duckdb::LogicalGet>());
      for (auto& child : at.children) walk(*child);
    };
    walk(op);
    return found;
  }
};

TEST_F(Planning, PlansTheQueriesOfTheProofs) {
  for (const char* query :
       {"SELECT * FROM o, LATERAL (SELECT * FROM l WHERE l.ok=o.ok ORDER BY price DESC LIMIT 2)",
        "SELECT ck FROM o ORDER BY total LIMIT 3",
        "SELECT * FROM (PIVOT o ON d IN (DATE '2020-01-01') USING sum(total) GROUP BY ck)",
        "SELECT ck, total FROM o QUALIFY row_number() OVER (PARTITION BY ck ORDER BY total "
        "DESC)<=2",
        "SELECT ck, count(*), sum(total) FROM o GROUP BY ck",
        "SELECT name, total FROM o JOIN c USING (ck) WHERE total > 3",
        "SELECT ok, unnest(tags) AS tag FROM o",
        "SELECT count(*) FROM o WHERE EXISTS (SELECT 1 FROM l WHERE l.ok = o.ok)"}) {
    auto plan = planned(query);
    ASSERT_TRUE(plan.plan) << query;
    EXPECT_EQ(plan.names.size(), plan.types.size());
    EXPECT_EQ(plan.plan->types.size(), plan.types.size()) << query;
  }
}

TEST_F(Planning, KeepsFiltersAboveTheScan) {
  auto plan = planned("SELECT ok FROM o WHERE total > 3 AND _offset > 5");
  const auto text = plan.plan->ToString();
  EXPECT_THAT(text, HasSubstr("FILTER"));
  EXPECT_THAT(plan.inputs, ElementsAre("o"));
}

TEST_F(Planning, ColumnIdsIndexTheRelationsColumnsHiddenOnesToo) {
  auto plan = planned("SELECT total, _offset FROM o");
  const auto gets = scans(*plan.plan);
  ASSERT_EQ(gets.size(), 1u);
  const auto& ids = gets[0]->GetColumnIds();
  ASSERT_EQ(ids.size(), 2u);
  EXPECT_EQ(ids[0].GetPrimaryIndex(), 2u);
  EXPECT_EQ(ids[1].GetPrimaryIndex(), 9u);
  EXPECT_EQ(gets[0]->names.at(9), "_offset");
  EXPECT_EQ(gets[0]->types.at(1), duckdb::LogicalType::BIGINT);
  EXPECT_EQ(scanned_object(*gets[0])->name, "o");
}

TEST_F(Planning, CountsRowsByAnyColumn) {
  auto plan = planned("SELECT count(*) FROM o");
  const auto gets = scans(*plan.plan);
  ASSERT_EQ(gets.size(), 1u);
  ASSERT_EQ(gets[0]->GetColumnIds().size(), 1u);
  EXPECT_LT(gets[0]->GetColumnIds()[0].GetPrimaryIndex(), 11u);
}

TEST_F(Planning, HidesHiddenColumnsFromStar) {
  auto plan = planned("SELECT * FROM o");
  EXPECT_THAT(plan.names, ElementsAre("ok", "ck", "total", "d", "ts", "tags"));
}

TEST_F(Planning, ExpandsPlainViewsDownToTheirInputs) {
  view("v", "SELECT ck, total FROM o WHERE total > 0");
  view("v2", "SELECT ck, sum(total) AS s FROM v GROUP BY ck");
  auto plan = planned("SELECT name, s FROM v2 JOIN c USING (ck)");
  EXPECT_THAT(plan.inputs, ElementsAre("c", "o"));
}

TEST_F(Planning, RewritesTumbleToPlainSql) {
  auto plan = planned(
      "SELECT window_start, ck, count(*) AS n FROM TUMBLE(o, ts, INTERVAL 10 MINUTE) GROUP BY ALL");
  EXPECT_THAT(plan.names, ElementsAre("window_start", "ck", "n"));
  EXPECT_EQ(plan.types[0], duckdb::LogicalType::TIMESTAMP);
  EXPECT_THAT(plan.inputs, ElementsAre("o"));
}

TEST_F(Planning, RewritesHopToAnUnnestedSeries) {
  auto plan = planned(
      "SELECT window_start, window_end, sum(total) FROM HOP((SELECT * FROM o WHERE ck > 1), ts, "
      "INTERVAL 5 MINUTE, INTERVAL 10 MINUTE) AS w GROUP BY ALL");
  EXPECT_THAT(plan.plan->ToString(), HasSubstr("UNNEST"));
  EXPECT_THAT(plan.inputs, ElementsAre("o"));
}

TEST_F(Planning, SaysWhatIsWrongWithAWindowsArguments) {
  const auto wrong = [&](const std::string& window, size_t position, const std::string& text) {
    auto result = engine->plan("SELECT * FROM " + window);
    ASSERT_FALSE(result.has_value()) << window;
    EXPECT_THAT(result.error().text, HasSubstr(text));
    EXPECT_EQ(result.error().position, position) << window;
  };
  wrong("TUMBLE(o, ok, INTERVAL 1 HOUR)", 24, "the time of TUMBLE must be a TIMESTAMP");
  wrong("HOP(o, ts, INTERVAL 0 HOUR, INTERVAL 1 HOUR)", 34, "the slide of HOP must be greater");
  wrong("TUMBLE(o, ts, 60)", 28, "the size of TUMBLE must be an interval, such as INTERVAL");
  wrong("CUMULATE(o, ts, INTERVAL 7 MINUTE, INTERVAL 1 HOUR)", 39, "must divide its size");
  wrong("SESSION(o, ts, INTERVAL '-5 minutes', ck)", 38, "the gap of SESSION must be greater");
}

TEST_F(Planning, OutlivesLaterCatalogChanges) {
  auto plan = planned("SELECT ck, sum(total) AS s FROM o GROUP BY ck");
  ASSERT_TRUE(catalog.drop_now("o").has_value());
  topic("other", {{"x", "INTEGER"}});
  auto second = planned("SELECT x FROM other");
  EXPECT_EQ(scanned_object(*scans(*plan.plan).at(0))->name, "o");
}

TEST_F(Planning, SaysWhereAndWhyAQueryDoesNotBind) {
  auto column = engine->plan("SELECT totl FROM o");
  ASSERT_FALSE(column.has_value());
  EXPECT_EQ(column.error().code, ErrorCode::kUndefinedColumn);
  EXPECT_EQ(column.error().position, 7u);
  EXPECT_THAT(column.error().hint, HasSubstr("total"));

  auto table = engine->plan("SELECT 1 FROM nothing");
  ASSERT_FALSE(table.has_value());
  EXPECT_EQ(table.error().code, ErrorCode::kUndefinedObject);
  EXPECT_EQ(table.error().position, 14u);

  auto window = engine->plan("SELECT * FROM TUMBLE(o, tss, INTERVAL 1 HOUR)");
  ASSERT_FALSE(window.has_value());
  EXPECT_EQ(window.error().code, ErrorCode::kUndefinedColumn);
  EXPECT_EQ(window.error().position, 24u);
}

TEST_F(Planning, MakesAnAsofJoinOfForSystemTime) {
  for (const char* join :
       {"JOIN c FOR SYSTEM_TIME AS OF o.ts ON o.ck = c.ck",
        "LEFT JOIN c AS t FOR SYSTEM_TIME AS OF o.ts - INTERVAL '1 hour' ON t.ck = o.ck",
        "JOIN c for system_time as of (CASE WHEN o.ok > 1 THEN o.ts END) AS t on (o.ck = t.ck)",
        "JOIN l ON l.ok = o.ok JOIN c FOR SYSTEM_TIME AS OF o.d ON o.ck = c.ck AND o.ok > 0 WHERE "
        "c.name LIKE 'FOR SYSTEM_TIME AS OF%'"}) {
    auto plan = planned(fmt::format("SELECT o.ok, name FROM o {}", join));
    ASSERT_NE(plan.plan, nullptr) << join;
    EXPECT_THAT(plan.plan->ToString(), HasSubstr("ASOF")) << join;
  }
}

TEST_F(Planning, RefusesOtherTimeTravel) {
  const auto result = engine->plan("SELECT * FROM c AT (TIMESTAMP => TIMESTAMP '2024-01-01')");
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, ErrorCode::kNotSupported);
  EXPECT_THAT(result.error().text, HasSubstr("AT (TIMESTAMP => ...)"));
}

TEST_F(Planning, PlacesErrorsBehindForSystemTime) {
  const std::string query =
      "SELECT o.ok FROM o JOIN c FOR SYSTEM_TIME AS OF o.ts AS t ON o.ck = t.ck WHERE nothing > 1";
  auto result = engine->plan(query);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, ErrorCode::kUndefinedColumn);
  EXPECT_EQ(result.error().position, query.find("nothing"));
  const std::string without = "SELECT o.ok FROM o JOIN c FOR SYSTEM_TIME AS OF o.ts USING (ck)";
  result = engine->plan(without);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, ErrorCode::kSyntax);
  EXPECT_THAT(result.error().hint, HasSubstr("ON s.key = t.key"));
}

TEST_F(Planning, HasNoRowIds) {
  auto result = engine->plan("SELECT rowid FROM o");
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, ErrorCode::kUndefinedColumn);
}

TEST_F(Planning, MarksConditionsThatMoveWithTheClock) {
  for (std::string condition :
       {"ts > now()", "current_timestamp - INTERVAL 1 HOUR < ts", "d >= current_date - 7",
        "d = today()", "ts BETWEEN now() - INTERVAL 1 DAY AND now()", "now() BETWEEN ts AND d",
        "ts > date_trunc('hour', now())", "ts > localtimestamp",
        "ck > 1 AND (total < 2 OR ok = 3) AND ts <= now()", "ts > now() OR ok = 1",
        "NOT (ts BETWEEN now() AND d OR ok = 1)", "ts <> now()",
        "ts > now() - INTERVAL '1 month 2 hours' - INTERVAL 1 DAY"}) {
    const auto plan = planned("SELECT ok FROM o WHERE " + condition);
    ASSERT_TRUE(plan.plan) << condition;
    EXPECT_THAT(plan.plan->ToString(), HasSubstr(std::string(kClockCondition))) << condition;
  }
  // Pushed to the table that it is about, also where an outer join is an inner one by it.
  const auto joined =
      planned("SELECT o.ok FROM l LEFT JOIN o ON l.ok = o.ok WHERE o.ts > now() - INTERVAL 1 HOUR");
  EXPECT_THAT(joined.plan->ToString(), HasSubstr("INNER"));
  EXPECT_EQ(joined.plan->children[0]->type, duckdb::LogicalOperatorType::LOGICAL_COMPARISON_JOIN);
  const auto grouped = planned("SELECT ck FROM o GROUP BY ck HAVING max(ts) > now()");
  EXPECT_THAT(grouped.plan->ToString(), HasSubstr(std::string(kClockCondition)));
}

TEST_F(Planning, RefusesTheClockElsewhere) {
  const std::pair<const char*, const char*> refused[] = {
      {"SELECT now() AS n, ok FROM o", "outside of WHERE"},
      {"SELECT ok FROM o WHERE coalesce(ts > now(), ok = 1)", "in such a condition"},
      {"SELECT ok FROM o WHERE ts IS DISTINCT FROM now()", "in this comparison"},
      {"SELECT ok FROM o WHERE now() > TIMESTAMP '2024-01-01'", "no time of the row"},
      {"SELECT ok FROM o WHERE ts > now() - INTERVAL 1 DAY - INTERVAL 1 MONTH",
       "inside this expression"},
      {"SELECT ok FROM o WHERE now() - ts < INTERVAL 1 HOUR", "no time of the row"},
      {"SELECT ok FROM o WHERE CAST(ts AS TIME) > localtime", "inside this expression"},
      {"SELECT age(ts) AS a FROM o", "outside of WHERE"},
      {"SELECT sum(CASE WHEN ts > now() THEN 1 END) AS s FROM o", "outside of WHERE"}};
  for (const auto& [query, why] : refused) {
    auto result = engine->plan(query);
    ASSERT_FALSE(result) << query;
    EXPECT_EQ(result.error().code, ErrorCode::kNotSupported) << query;
    EXPECT_THAT(result.error().text, HasSubstr("moves with time")) << query;
    EXPECT_THAT(result.error().text, HasSubstr(why)) << query;
    EXPECT_THAT(result.error().hint, HasSubstr("ts > now() - INTERVAL '1 hour'")) << query;
  }
}

}  // namespace
}  // namespace millrace::sql::testing

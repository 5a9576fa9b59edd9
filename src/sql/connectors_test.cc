#include <gmock/gmock.h>

#include "catalog/connector.h"
#include "sql/detail/fakes.h"

namespace millrace::sql::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class ConnectorStatements : public EngineTest {
 protected:
  ConnectorStatements() { topic("t", {}, 2); }
};

TEST_F(ConnectorStatements, ASourceIsMadeShownPausedAndDropped) {
  EXPECT_EQ(run("CREATE SOURCE s FROM kafka WITH (bootstrap_servers = 'a:1', topic = far, "
                "\"librdkafka.sasl.password\" = 'hidden') INTO t")
                .tag,
            "CREATE SOURCE");
  const auto snapshot = catalog.snapshot();
  const auto* made = snapshot->find("s");
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(made->kind, catalog::Kind::kSource);
  EXPECT_EQ(made->owner, "ada");
  EXPECT_THAT(made->depends_on, ElementsAre("t"));
  EXPECT_EQ(made->options.at("with.librdkafka.sasl.password"), "hidden");
  EXPECT_EQ(made->sql,
            "CREATE SOURCE s FROM kafka WITH (bootstrap_servers = 'a:1', "
            "'librdkafka.sasl.password' = '***', topic = 'far') INTO t");
  EXPECT_EQ(run("SHOW SOURCES").rows,
            (std::vector<std::vector<std::string>>{{"s", "kafka", "t", made->sql, "ada"}}));
  EXPECT_EQ(run("SHOW CREATE SOURCE s").rows.at(0).at(0), made->sql);
  EXPECT_EQ(error_of("CREATE SOURCE s FROM http INTO t").code, ErrorCode::kDuplicateObject);
  run("CREATE SOURCE IF NOT EXISTS s FROM http INTO t");
  EXPECT_EQ(run("ALTER SOURCE s PAUSE").tag, "ALTER SOURCE");
  EXPECT_TRUE(catalog.snapshot()->find("s")->options.contains(catalog::kPausedOption));
  run("ALTER SOURCE s RESUME");
  EXPECT_FALSE(catalog.snapshot()->find("s")->options.contains(catalog::kPausedOption));
  run("CREATE OR REPLACE SOURCE s FROM http WITH (format = lines) INTO t");
  EXPECT_THAT(host.calls, ElementsAre("created s", "created s", "created s", "created s"));
  EXPECT_EQ(error_of("SELECT * FROM s").code, ErrorCode::kUndefinedObject);
  EXPECT_EQ(error_of("DROP TOPIC t").code, ErrorCode::kDependentObjects);
  EXPECT_EQ(run("DROP SOURCE s").tag, "DROP SOURCE");
  EXPECT_EQ(host.calls.back(), "dropping s");
  EXPECT_THAT(run("SHOW SOURCES").rows, IsEmpty());
  run("DROP SOURCE IF EXISTS s");
}

TEST_F(ConnectorStatements, ASinkOfAConnectorStandsBesideThatOfAQuery) {
  topic("numbers", {{"n", "INTEGER", false, ""}});
  run("CREATE SINK k INTO http WITH (url = 'http://x', headers = 'Authorization: hidden') FROM t");
  run("CREATE SINK doubled AS SELECT n * 2 AS n FROM numbers");
  const auto rows = run("SHOW SINKS").rows;
  EXPECT_THAT(rows, ElementsAre(ElementsAre("doubled", "plain", "",
                                            "SELECT n * 2 AS n FROM numbers", "", "doubled"),
                                ElementsAre("k", "", "", "", "http", "t")));
  EXPECT_THAT(run("SHOW CREATE SINK k").rows.at(0).at(0),
              AllOf(HasSubstr("INTO http"), Not(HasSubstr("hidden")), HasSubstr("FROM t")));
  EXPECT_THAT(run("EXPLAIN TOPIC t").rows, ::testing::Contains(ElementsAre("to sink k")));
  EXPECT_EQ(run("ALTER SINK k PAUSE").tag, "ALTER SINK");
  EXPECT_EQ(run("DROP SINK k").tag, "DROP SINK");
  run("DROP SINK doubled");
  EXPECT_THAT(run("SHOW SINKS").rows, IsEmpty());
}

TEST_F(ConnectorStatements, ApplyMakesWhatTheStatementSaysAndSaysSo) {
  const auto row = [](const std::string& action, const std::string& kind) {
    return ElementsAre(ElementsAre(action, kind, kind == "source" ? "s" : "k"));
  };
  const std::string source =
      "CREATE SOURCE s FROM http WITH (url = 'http://x', headers = 'A: 1') INTO t";
  EXPECT_THAT(run("APPLY DRY RUN " + source).rows, row("would create", "source"));
  EXPECT_EQ(catalog.snapshot()->find("s"), nullptr);
  EXPECT_THAT(run("APPLY " + source).rows, row("created", "source"));
  EXPECT_THAT(run("APPLY " + source).rows, row("unchanged", "source"));
  EXPECT_THAT(run("APPLY create or replace source S from HTTP WITH (headers = 'A: 1', url = "
                  "'http://x') into T")
                  .rows,
              ElementsAre(ElementsAre("unchanged", "source", "S")));
  // A secret is part of it, and is not told.
  const std::string other =
      "CREATE SOURCE s FROM http WITH (url = 'http://x', headers = 'A: 2') INTO t";
  EXPECT_THAT(run("APPLY DRY RUN " + other).rows, row("would replace", "source"));
  EXPECT_EQ(catalog.snapshot()->find("s")->options.at("with.headers"), "A: 1");
  EXPECT_THAT(run("APPLY " + other).rows, row("replaced", "source"));
  EXPECT_EQ(catalog.snapshot()->find("s")->options.at("with.headers"), "A: 2");
  EXPECT_THAT(host.calls, ElementsAre("created s", "created s"));
  // Who has paused it resumes it.
  run("ALTER SOURCE s PAUSE");
  EXPECT_THAT(run("APPLY " + other).rows, row("unchanged", "source"));
  EXPECT_THAT(run("APPLY " + source).rows, row("replaced", "source"));
  EXPECT_TRUE(catalog.snapshot()->find("s")->options.contains(catalog::kPausedOption));
  // A statement before it would have made the topic.
  const std::string sink = "CREATE SINK k INTO http WITH (url = 'http://x') FROM later";
  EXPECT_THAT(run("APPLY DRY RUN " + sink).rows, row("would create", "sink"));
  EXPECT_EQ(error_of("APPLY " + sink).code, ErrorCode::kUndefinedObject);
  // What cannot be is refused by both.
  host.refuse = Error{ErrorCode::kInvalidConfig, "no such option"};
  for (const std::string how : {"APPLY ", "APPLY DRY RUN "}) {
    EXPECT_EQ(error_of(how + "CREATE SOURCE x FROM http WITH (color = 'red') INTO t").text,
              "no such option");
    EXPECT_EQ(error_of(how + "CREATE SOURCE t FROM http INTO t").code, ErrorCode::kDuplicateObject);
  }
}

TEST_F(ConnectorStatements, WhatCannotBeIsToldWithItsPlace) {
  const auto place_of = [&](const std::string& sql) { return error_of(sql).position; };
  EXPECT_EQ(place_of("CREATE SOURCE s INTO t"), 16u);
  EXPECT_EQ(place_of("CREATE SOURCE s FROM kafka"), 26u);
  EXPECT_EQ(place_of("CREATE SOURCE s FROM kafka INTO nothing"), 32u);
  EXPECT_EQ(place_of("CREATE SOURCE s FROM kafka WITH (a = 1, a = 2) INTO t"), 40u);
  EXPECT_EQ(place_of("CREATE SOURCE s FROM kafka TRANSFORM INTO t"), std::optional<size_t>(42));
  host.refuse = Error{ErrorCode::kInvalidConfig, "no such option"};
  EXPECT_EQ(place_of("CREATE SOURCE s FROM kafka INTO t"), 21u);
  EXPECT_EQ(catalog.snapshot()->find("s"), nullptr);
  host.refuse.reset();
  table("rows", {{"k", "INTEGER", true, ""}}, {"k"});
  EXPECT_EQ(error_of("CREATE SOURCE s FROM kafka INTO rows").code, ErrorCode::kNotSupported);
  run("CREATE SINK k INTO kafka FROM rows");
  run("CREATE SOURCE s FROM kafka INTO t");
  session = engine->connect("mallory", "millrace").value();
  for (const char* sql :
       {"DROP SOURCE s", "ALTER SINK k PAUSE", "CREATE OR REPLACE SOURCE s FROM http INTO t"}) {
    EXPECT_EQ(error_of(sql).code, ErrorCode::kNotAllowed) << sql;
  }
}

}  // namespace
}  // namespace millrace::sql::testing

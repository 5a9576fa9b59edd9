#include <gmock/gmock.h>

#include "sql/detail/fakes.h"
#include "sql/subscription.h"
#include "sql/temporary_view.h"

namespace millrace::sql::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class Subscribe : public EngineTest {
 protected:
  Subscribe() {
    topic("t", {{"a", "INTEGER"}});
    run("CREATE MATERIALIZED VIEW v AS SELECT a, {'x': a * 0.5} AS s, [a] AS l FROM t");
    host.calls.clear();
    host.changes = {
        {.epoch = 7, .rows = {{1, R"({"a":1,"s":{"x":0.5},"l":[1]})"}}, .token = ""},
        {.epoch = 7, .rows = {{-2, R"({"a":null,"s":null,"l":[null]})"}}, .token = "here"},
        {.epoch = 9, .rows = {}, .token = "there"},
    };
  }
};

std::vector<std::string> row(std::initializer_list<std::string> values) { return values; }

TEST_F(Subscribe, GivesChangesAsRowsWithEpochAndWeight) {
  const auto answer = run("SUBSCRIBE TO v WITH SNAPSHOT");
  EXPECT_THAT(answer.names, ElementsAre("epoch", "weight", "a", "s", "l"));
  EXPECT_THAT(answer.rows, ElementsAre(row({"7", "1", "1", "{'x': 0.5}", "[1]"}),
                                       row({"7", "-2", "NULL", "NULL", "[NULL]"})));
  EXPECT_THAT(host.calls, ElementsAre("subscribe v snapshot after ''"));
}

TEST_F(Subscribe, WithProgressGivesTheTokenOfEachEpoch) {
  const auto answer = run("SUBSCRIBE millrace.public.V AFTER 'x''y' WITH (PROGRESS)");
  EXPECT_THAT(answer.names, ElementsAre("epoch", "weight", "token", "a", "s", "l"));
  EXPECT_THAT(answer.rows, ElementsAre(row({"7", "1", "NULL", "1", "{'x': 0.5}", "[1]"}),
                                       row({"7", "-2", "NULL", "NULL", "NULL", "[NULL]"}),
                                       row({"7", "NULL", "here", "NULL", "NULL", "NULL"}),
                                       row({"9", "NULL", "there", "NULL", "NULL", "NULL"})));
  EXPECT_THAT(host.calls, ElementsAre("subscribe v after 'x'y'"));
}

TEST_F(Subscribe, AQueryHasAViewOfItsOwnForAsLongAsItIsRead) {
  host.changes = {{.epoch = 1, .rows = {{1, R"({"b":2})"}}, .token = "x"}};
  auto mine = engine->connect("ada", "millrace").value();
  auto statement = mine->prepare("SUBSCRIBE TO ( SELECT a + 1 AS b FROM t )", {}).value();
  EXPECT_THAT(statement->names(), ElementsAre("epoch", "weight", "b"));
  const auto views = [&] {
    std::vector<catalog::Object> found;
    for (const auto* object : catalog.snapshot()->list())
      if (is_temporary_view(*object)) found.push_back(*object);
    return found;
  };
  EXPECT_THAT(views(), IsEmpty());
  {
    auto cursor = mine->execute(*statement, {}).value();
    ASSERT_THAT(views(), SizeIs(1));
    EXPECT_EQ(views()[0].query, "SELECT a + 1 AS b FROM t ");
    EXPECT_THAT(run("SHOW ALL").rows, SizeIs(2));  // t and v
    auto rows = cursor->fetch().value();
    ASSERT_EQ(rows->size(), 1u);
    EXPECT_EQ(rows->GetValue(2, 0).ToString(), "2");
    EXPECT_TRUE(cursor->endless());
  }
  EXPECT_THAT(views(), IsEmpty());
  EXPECT_THAT(host.calls, ElementsAre(HasSubstr("created __subscription_"),
                                      "subscribe __subscription_ caught up after ''",
                                      HasSubstr("dropping __subscription_")));
  run("SUBSCRIBE TO t");
  EXPECT_THAT(views(), IsEmpty());
}

TEST_F(Subscribe, RefusesWhatMakesNoSense) {
  const auto refused = [&](const std::string& sql, ErrorCode code, const std::string& at) {
    const auto error = error_of(sql);
    EXPECT_EQ(error.code, code) << sql << ": " << error.text;
    ASSERT_TRUE(error.position) << sql;
    EXPECT_EQ(sql.substr(*error.position, at.size()), at) << sql;
  };
  refused("SUBSCRIBE TO nothing", ErrorCode::kUndefinedObject, "nothing");
  refused("SUBSCRIBE TO (SELECT * FROM nothing)", ErrorCode::kUndefinedObject, "nothing");
  refused("SUBSCRIBE TO t AFTER 'x'", ErrorCode::kNotSupported, "AFTER");
  refused("SUBSCRIBE TO (SELECT 1 AS a) AFTER 'x'", ErrorCode::kNotSupported, "AFTER");
  refused("SUBSCRIBE TO v WITH SNAPSHOT AFTER 'x'", ErrorCode::kSyntax, "AFTER");
  refused("SUBSCRIBE TO v AFTER x", ErrorCode::kSyntax, "x");
  refused("SUBSCRIBE TO v WITH EVERYTHING", ErrorCode::kSyntax, "EVERYTHING");
  refused("SUBSCRIBE TO v v", ErrorCode::kSyntax, "v");
  refused("SUBSCRIBE TO ()", ErrorCode::kSyntax, ")");
  EXPECT_EQ(error_of("SUBSCRIBE TO (SELECT 1 AS a").code, ErrorCode::kSyntax);
}

TEST_F(Subscribe, EndsAtWhatIsNoRowOfTheView) {
  host.changes = {{.epoch = 1, .rows = {{1, R"({"a":"one"})"}}, .token = "x"}};
  EXPECT_EQ(error_of("SUBSCRIBE TO v").code, ErrorCode::kCorruptRecord);
}

}  // namespace
}  // namespace millrace::sql::testing

#include <random>
#include <set>
#include <thread>

#include "flow/detail/dead_letters.h"
#include "flow/detail/test_node.h"

namespace millrace::flow {
namespace {

using testing::TestNode;
using testing::TextRows;

constexpr const char* kCreate =
    "CREATE TOPIC readings (id INTEGER NOT NULL, v DOUBLE) WITH (partitions = 2)";

template <typename F>
bool becomes(F condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

std::string header(const TestNode::Kept& record, const std::string& name) {
  for (const auto& [key, value] : record.headers)
    if (key == name) return value;
  return "(none)";
}

/// Partition and offset of each letter, and whether one came twice.
std::multiset<std::string> origins(TestNode& node) {
  std::multiset<std::string> all;
  for (const auto& letter : node.consume("readings.dead_letter"))
    all.insert(header(letter, "partition") + ":" + header(letter, "offset"));
  return all;
}

TEST(DeadLetters, KeepWhatDoesNotFitWithItsReason) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kCreate);
  node.run("CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM readings");
  node.run("CREATE MATERIALIZED VIEW m AS SELECT id FROM readings");
  node.must_produce("readings",
                    {{"k1", R"({"id":1,"v":1.5})"},
                     {"k2", "not json"},
                     {"k3", R"({"id":"x"})"},
                     {std::nullopt, R"({"v":3})"},
                     {"k5", R"({"id":5})"}},
                    1);
  ASSERT_TRUE(becomes([&] { return node.consume("readings.dead_letter").size() == 3; }));
  EXPECT_EQ(node.view("n"), (TextRows{{"2"}}));
  EXPECT_EQ(node.view("m"), (TextRows{{"1"}, {"5"}}));
  const auto letters = node.consume("readings.dead_letter");
  EXPECT_EQ(letters[0].key, "k2");
  EXPECT_EQ(letters[0].value, "not json");
  EXPECT_EQ(header(letters[0], "topic"), "readings");
  EXPECT_EQ(header(letters[0], "partition"), "1");
  EXPECT_EQ(header(letters[0], "offset"), "1");
  EXPECT_EQ(header(letters[0], "timestamp"), "1000");
  EXPECT_NE(header(letters[0], "reason"), "");
  EXPECT_EQ(letters[1].value, R"({"id":"x"})");
  EXPECT_EQ(letters[2].key, std::nullopt);
  EXPECT_EQ(
      env.metrics().counter("millrace_flow_bad_records_total", "", {{"topic", "readings"}}).value(),
      3);
}

TEST(DeadLetters, WhoseReaderComesBackHoldsNothingForOthers) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kCreate);
  node.must_produce("readings", {{"k1", R"({"id":1})"}, {"k2", "not json"}}, 0);
  const auto topic = node.broker->find("readings");
  LettersMarks marks(env.files(), "/marks");
  for (int life = 0; life < 2; ++life) {
    DecodeBudget budget;
    const auto source = std::make_shared<Source>(env, topic, budget, nullptr);
    TopicLetters letters(env, *node.broker, source, marks);
    letters.run();
    // A view that begins anew reads all, and is the last to need it.
    const auto reader = source->subscribe({0}).value();
    Source::Cursor cursor{0, 0, 2, {}};
    ASSERT_TRUE(source->read(cursor, true));
    source->advance(*reader, 0, 2);
    EXPECT_EQ(budget.bytes, 0) << "life " << life;
  }
}

TEST(DeadLetters, ComeOnceThroughRestartsAndCrashes) {
  io::TestEnv env;
  std::mt19937_64 random(7);
  std::multiset<std::string> wanted;
  Offset next[2] = {0, 0};
  {
    TestNode node(env);
    node.run(kCreate);
  }
  for (int life = 0; life < 6; ++life) {
    TestNode node(env);
    for (int b = 0; b < 5; ++b) {
      const size_t partition = random() % 2;
      std::vector<testing::TestRecord> records;
      const size_t count = 1 + random() % 50;
      for (size_t i = 0; i < count; ++i, ++next[partition]) {
        const bool bad = random() % 3 == 0;
        records.push_back({std::nullopt, bad ? "{" : R"({"id":1,"v":2})"});
        if (bad) wanted.insert(fmt::format("{}:{}", partition, next[partition]));
      }
      node.must_produce("readings", records, partition);
      if (random() % 2 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(random() % 10));
    }
    if (life == 3) ASSERT_TRUE(becomes([&] { return origins(node) == wanted; }));
    if (life % 2 == 0) env.files().forget_unsynced(random());
  }
  TestNode node(env);
  ASSERT_TRUE(becomes([&] { return origins(node).size() >= wanted.size(); }));
  EXPECT_EQ(origins(node), wanted);
}

TEST(DeadLetters, AreNotWrittenForATopicThatSkips) {
  io::TestEnv env;
  TestNode node(env);
  node.run("CREATE TOPIC readings (id INTEGER NOT NULL) WITH (on_error = 'skip')");
  node.run("CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM readings");
  node.must_produce("readings", {{std::nullopt, "{"}, {std::nullopt, R"({"id":1})"}});
  EXPECT_EQ(node.view("n"), (TextRows{{"1"}}));
  EXPECT_EQ(node.broker->find("readings.dead_letter"), nullptr);
}

}  // namespace
}  // namespace millrace::flow

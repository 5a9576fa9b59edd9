#include <thread>

#include "flow/detail/test_node.h"

// Views whose state is more than the node gives them, and nowhere to put it.

namespace millrace::flow {
namespace {

using testing::TestNode;
using testing::TestRecord;
using testing::TextRows;

void produce(TestNode& node, int from, int until) {
  std::vector<TestRecord> records;
  for (int id = from; id < until; ++id)
    records.push_back({std::nullopt, fmt::format(R"({{"id":{}}})", id)});
  node.must_produce("events", records);
}

TEST(Memory, AViewThatIsTooLargeWaitsAndTheOthersGoOn) {
  io::TestEnv env;
  Flows::Options options;
  options.state_bytes_max = 8 << 20;
  TestNode node(env, options);
  node.run("CREATE TOPIC events (id INTEGER)");
  node.run("CREATE MATERIALIZED VIEW large AS SELECT id, count(*) AS n FROM events GROUP BY id");
  node.run("CREATE MATERIALIZED VIEW small AS SELECT count(*) AS n FROM events");
  int produced = 0;
  while (node.status("large").state != "full" && produced < 1'000'000) {
    produce(node, produced, produced + 5000);
    produced += 5000;
    EXPECT_EQ(node.view("small"), (TextRows{{std::to_string(produced)}}));
  }
  const auto large = node.status("large");
  EXPECT_EQ(large.state, "full");
  EXPECT_NE(large.error.find("a larger --memory"), std::string::npos) << large.error;
  EXPECT_LT(large.state_bytes, 16u << 20);
  for (int batch = 0; batch < 10; ++batch, produced += 30'000)
    produce(node, produced, produced + 30'000);
  EXPECT_EQ(node.view("small"), (TextRows{{std::to_string(produced)}}));
  EXPECT_EQ(node.status("small").state, "live");
  EXPECT_LT(node.status("large").state_bytes, 16u << 20);
  EXPECT_LT(node.run("SELECT id FROM large").size(), static_cast<size_t>(produced));

  // Other views may come when it has gone.
  node.run("DROP MATERIALIZED VIEW large");
  node.run("CREATE MATERIALIZED VIEW few AS SELECT id FROM events WHERE id < 1000");
  EXPECT_EQ(node.view("few").size(), 1000u);
}

}  // namespace
}  // namespace millrace::flow

#include <xxhash.h>

#include <cstring>
#include <random>
#include <thread>

#include "flow/detail/test_node.h"

// Views that come back from snapshots of their state: what they show is what they would have shown.

namespace millrace::flow {
namespace {

using testing::Oracle;
using testing::TestNode;
using testing::TestRecord;

constexpr const char* kQueries[] = {
    "SELECT shop, count(*) AS n, sum(amount) AS amount, max(note) AS note FROM sales GROUP BY 1",
    "SELECT town, shop, count(*) AS n FROM sales LEFT JOIN shops USING (shop) GROUP BY ALL",
    "SELECT id, amount * 2 AS twice, note FROM sales WHERE amount > 90",
    "SELECT s.id, t.town, s.amount FROM sales s JOIN shops t ON s.shop = t.shop WHERE s.id % 3 = 0",
    "SELECT DISTINCT shop, amount FROM sales WHERE shop NOT IN (SELECT shop FROM shops)",
    "SELECT n % 10 d, count(*) n, string_agg(shop, ',' ORDER BY shop) s FROM v0 GROUP BY 1",
    "SELECT shop, median(amount) m, arg_max(note, id) a, quantile_disc(amount, [0.2, 0.9]) q, "
    "mad(id) d, histogram(amount % 5) h FROM sales GROUP BY 1",
    "SELECT town, min(id) i, max(note) n, arg_min(note, id) a, median(amount) m, "
    "quantile_cont(id, 0.3) q FROM sales LEFT JOIN shops USING (shop) GROUP BY 1",
};
constexpr size_t kViews = std::size(kQueries);

Flows::Options often() {
  Flows::Options options;
  options.snapshot_interval = std::chrono::milliseconds(0);
  return options;
}
Flows::Options never() {
  Flows::Options options;
  options.snapshot_interval = std::nullopt;
  return options;
}

/// The node's statements, and DuckDB beside it that is told the same.
struct Both {
  io::TestEnv env;
  Oracle oracle;
  int next = 0;
  size_t batches = 0;

  void create(TestNode& node) {
    node.run(
        "CREATE TOPIC sales (id INTEGER, shop VARCHAR, amount INTEGER, note VARCHAR) WITH "
        "(partitions = 2)");
    oracle.run("CREATE TABLE sales (id INTEGER, shop VARCHAR, amount INTEGER, note VARCHAR)");
    node.run("CREATE TABLE shops (shop VARCHAR PRIMARY KEY, town VARCHAR)");
    oracle.run("CREATE TABLE shops (shop VARCHAR, town VARCHAR)");
    change_shops(node, "INSERT INTO shops VALUES ('s0', 'Ulm'), ('s1', 'Ulm'), ('s2', 'Bern')");
    oracle.run(std::string("CREATE VIEW v0 AS ") + kQueries[0]);
    for (size_t i = 0; i < kViews; ++i)
      node.run(fmt::format("CREATE MATERIALIZED VIEW v{} AS {}", i, kQueries[i]));
  }
  void change_shops(TestNode& node, const std::string& statement) {
    node.run(statement);
    oracle.run(statement);
  }
  void sell(TestNode& node, int count) {
    std::vector<TestRecord> records;
    for (int id = next; id < next + count; ++id)
      records.push_back(
          {std::nullopt, fmt::format(R"({{"id":{},"shop":"s{}","amount":{},"note":"{}"}})", id,
                                     id % 7, id % 100, std::string(id % 37, 'n'))});
    node.must_produce("sales", records, batches++ % 2);
    oracle.run(
        fmt::format("INSERT INTO sales SELECT i, 's' || (i % 7), i % 100, repeat('n', i % "
                    "37) FROM range({}, {}) t(i)",
                    next, next + count));
    next += count;
  }
  void expect_equal(TestNode& node) {
    EXPECT_EQ(node.failures, std::vector<std::string>());
    for (size_t i = 0; i < kViews; ++i)
      EXPECT_EQ(node.view(fmt::format("v{}", i)), oracle.run(kQueries[i])) << i;
  }
  std::string folder(TestNode& node, const std::string& view) {
    return "/data/views/" + node.catalog->snapshot()->find(view)->id.to_string();
  }
  std::vector<std::string> snapshots(TestNode& node, const std::string& view) {
    const auto path = folder(node, view);
    if (!env.files().exists(path)) return {};
    auto names = env.files().list(path);
    EXPECT_TRUE(names);
    std::erase_if(*names, [](const auto& name) { return !name.ends_with(".snapshot"); });
    return *names;
  }
  double metric(const std::string& name, const std::string& view) {
    const auto text = env.metrics().render();
    const auto at = text.find(fmt::format("{}{{view=\"{}\"}} ", name, view));
    if (at == std::string::npos) return -1;
    return std::stod(text.substr(text.find(' ', at)));
  }
  /// Epochs that the view has computed in this life.
  double epochs(const std::string& view) { return metric("millrace_flow_epochs_total", view); }
};

TEST(Snapshot, AfterACleanStopNothingIsComputedAgain) {
  Both both;
  {
    TestNode node(both.env);
    both.create(node);
    for (int i = 0; i < 5; ++i) {
      both.sell(node, 1000);
      both.expect_equal(node);
    }
  }
  for (int life = 0; life < 3; ++life) {
    TestNode node(both.env);
    const double before = both.epochs("v0");
    for (size_t i = 0; i < kViews; ++i) {
      const auto name = fmt::format("v{}", i);
      EXPECT_EQ(node.run("SELECT * FROM " + name), both.oracle.run(kQueries[i])) << i;
    }
    EXPECT_LE(both.epochs("v0") - before, 1) << "epochs were computed again";
    both.sell(node, 500);
    both.change_shops(node, fmt::format("UPDATE shops SET town = 'Rom{}' WHERE shop = 's1'", life));
    both.change_shops(
        node, life == 1 ? "DELETE FROM shops WHERE shop = 's2'"
                        : fmt::format("INSERT INTO shops VALUES ('s{}', 'Bari')", life + 4));
    both.expect_equal(node);
  }
}

/// A view keeps the shares that it began with: what was saved, or has to be computed again, is the
/// same with other lanes. Half of the lives end with a snapshot, after the others epochs are
/// stepped anew.
TEST(Snapshot, OtherLanesGoOnWithTheSameState) {
  for (const size_t first : {1, 2}) {
    Both both;
    size_t life = 0;
    for (const size_t lanes : {first, 3 - first, size_t{4}, size_t{1}, size_t{2}}) {
      auto options = life % 2 ? never() : Flows::Options();
      options.lanes = lanes;
      TestNode node(both.env, options);
      if (life++ == 0) both.create(node);
      for (int i = 0; i < 3; ++i) {
        both.sell(node, 700);  // enough of an epoch to be divided
        both.expect_equal(node);
      }
      both.change_shops(node, fmt::format("INSERT INTO shops VALUES ('s{}', 'Bari')", life + 2));
      both.change_shops(node,
                        fmt::format("UPDATE shops SET town = 'Rom{}' WHERE shop = 's1'", life));
      both.expect_equal(node);
    }
  }
}

/// Crashes at any time, with snapshots being written all the time.
class SnapshotCrash : public ::testing::TestWithParam<uint64_t> {};

TEST_P(SnapshotCrash, TheViewsGoOnFromTheLastThatIsWhole) {
  Both both;
  std::mt19937_64 random(GetParam());
  {
    TestNode node(both.env, often());
    both.create(node);
  }
  for (int life = 0; life < 5; ++life) {
    TestNode node(both.env, random() % 4 == 0 ? never() : often());
    ASSERT_EQ(node.failures, std::vector<std::string>());
    for (uint64_t batches = 1 + random() % 12; batches > 0; --batches) {
      both.sell(node, 1 + random() % 800);
      if (random() % 4 == 0) node.view("v1");
      if (random() % 3 == 0)
        both.change_shops(node, fmt::format("UPDATE shops SET town = 't{}' WHERE shop = 's{}'",
                                            random() % 50, random() % 3));
      if (random() % 3 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(random() % 12));
    }
    both.env.files().forget_unsynced(random());
  }
  TestNode node(both.env, often());
  both.expect_equal(node);
}

INSTANTIATE_TEST_SUITE_P(Seeds, SnapshotCrash, ::testing::Range<uint64_t>(1, 7));

TEST(Snapshot, ADamagedOneGivesWayToTheOlderAndThatToTheWholeHistory) {
  Both both;
  std::vector<std::string> names;
  std::string folder;
  {
    TestNode node(both.env, often());
    both.create(node);
    for (int i = 0; i < 4; ++i) {
      both.sell(node, 300);
      both.expect_equal(node);
    }
    folder = both.folder(node, "v1");
  }
  {
    TestNode node(both.env, never());
    names = both.snapshots(node, "v1");
    ASSERT_EQ(names.size(), 2u);
  }
  const auto damage = [&](const std::string& name) {
    const auto bytes = both.env.files().read_file(folder + "/" + name);
    ASSERT_TRUE(bytes);
    const size_t at = bytes->size() - bytes->size() / 3;
    both.env.files().overwrite(folder + "/" + name, at,
                               std::string(1, static_cast<char>(~(*bytes)[at])));
  };
  damage(names[1]);
  {
    TestNode node(both.env, never());
    both.expect_equal(node);
    EXPECT_EQ(both.snapshots(node, "v1"), std::vector<std::string>{names[0]});
    both.sell(node, 300);
    both.expect_equal(node);
  }
  damage(names[0]);
  TestNode node(both.env, never());
  both.expect_equal(node);
  EXPECT_EQ(both.snapshots(node, "v1"), std::vector<std::string>());
  both.sell(node, 300);
  both.expect_equal(node);
}

/// A snapshot's file that ends too early, and says so with good checksums.
std::string cut_short(std::string_view file) {
  std::string out, content;
  for (uint64_t length; (std::memcpy(&length, file.data(), 8), length > 0);) {
    content += file.substr(16, length);
    file.remove_prefix(16 + length);
  }
  content.resize(content.size() * 3 / 5);
  uint64_t number = 0;
  for (const std::string& block : {content, std::string()}) {
    const uint64_t head[] = {block.size(),
                             XXH3_64bits_withSeed(block.data(), block.size(), number++)};
    out.append(reinterpret_cast<const char*>(head), sizeof(head)).append(block);
  }
  return out;
}

TEST(Snapshot, OneThatDoesNotLoadGivesWayToTheOlder) {
  Both both;
  std::vector<std::string> names;
  std::string folder;
  {
    TestNode node(both.env, often());
    both.create(node);
    for (int i = 0; i < 4; ++i) {
      both.sell(node, 300);
      both.expect_equal(node);
    }
    folder = both.folder(node, "v1");
  }
  {
    TestNode node(both.env, never());
    names = both.snapshots(node, "v1");
    ASSERT_EQ(names.size(), 2u);
  }
  const std::string newer = folder + "/" + std::max(names[0], names[1]);
  ASSERT_TRUE(
      both.env.files().replace_file(newer, cut_short(both.env.files().read_file(newer).value())));
  TestNode node(both.env, never());
  while (node.status("v1").state != "live")
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  both.expect_equal(node);
  EXPECT_EQ(both.snapshots(node, "v1"), std::vector<std::string>{std::min(names[0], names[1])});
  both.sell(node, 300);
  both.expect_equal(node);
}

TEST(Snapshot, AViewComesBackThoughItsInputsAreGoneUpToTheSnapshot) {
  Both both;
  {
    TestNode node(both.env, often());
    both.create(node);
    for (int i = 0; i < 6; ++i) {
      both.sell(node, 400);
      both.expect_equal(node);
    }
  }
  {
    TestNode node(both.env, never());
    both.expect_equal(node);
    for (int p = 0; p < 2; ++p) {
      const auto log = node.broker->find("sales")->partitions.at(p);
      ASSERT_TRUE(log->shard().block_on(log->delete_records(600)));
    }
    both.sell(node, 100);
    both.expect_equal(node);
  }
  {
    TestNode node(both.env, never());
    both.expect_equal(node);
    both.sell(node, 100);
    both.expect_equal(node);
    for (int p = 0; p < 2; ++p) {
      const auto log = node.broker->find("sales")->partitions.at(p);
      ASSERT_TRUE(log->shard().block_on(log->delete_records(log->high_watermark())));
    }
  }
  // Gone past the snapshots.
  TestNode node(both.env, never());
  const auto read = node.try_run("SELECT * FROM v0");
  ASSERT_FALSE(read);
  EXPECT_NE(read.error().text.find("create it anew"), std::string::npos) << read.error().text;
}

TEST(Snapshot, AViewThatIsDroppedLeavesNone) {
  Both both;
  TestNode node(both.env, often());
  both.create(node);
  both.sell(node, 300);
  both.expect_equal(node);
  const auto folder = both.folder(node, "v3");
  node.run("DROP MATERIALIZED VIEW v3");
  EXPECT_FALSE(both.env.files().exists(folder));
}

TEST(Snapshot, ADiskThatRefusesThemDoesNotStopTheView) {
  Both both;
  {
    TestNode node(both.env, never());
    both.create(node);
    both.sell(node, 300);
    both.expect_equal(node);
  }
  {
    TestNode node(both.env, often());
    both.expect_equal(node);
    for (int i = 0; i < 20; ++i) {
      both.env.files().fail_after(3 + i, ErrorCode::kDiskFull, 2);
      static_cast<void>(node.flows->wait_caught_up("v0", std::chrono::seconds(10)));
      both.env.files().heal();
      both.sell(node, 50);
    }
    both.expect_equal(node);
  }
  TestNode node(both.env, often());
  both.expect_equal(node);
}

TEST(Snapshot, APartitionThatIsAddedIsReadBesideWhatTheSnapshotHolds) {
  Both both;
  TestNode node(both.env, often());
  both.create(node);
  both.sell(node, 700);
  both.expect_equal(node);
  auto object = node.broker->find("sales")->object;
  object.partitions = 4;
  ASSERT_TRUE(node.runtime.shard(0).block_on(node.broker->create(object, true, false)));
  std::vector<TestRecord> records;
  for (int id = 10'000; id < 10'100; ++id)
    records.push_back({std::nullopt, fmt::format(R"({{"id":{},"shop":"s1","amount":95}})", id)});
  node.must_produce("sales", records, 3);
  both.oracle.run("INSERT INTO sales SELECT i, 's1', 95, NULL FROM range(10000, 10100) t(i)");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (node.view("v2") != both.oracle.run(kQueries[2]) &&
         std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  both.expect_equal(node);
}

}  // namespace
}  // namespace millrace::flow

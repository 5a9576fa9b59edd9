#include "flow/detail/source.h"

#include <atomic>
#include <random>
#include <thread>

#include "flow/detail/test_node.h"

namespace millrace::flow {
namespace {

using testing::TestNode;

constexpr const char* kCreate = "CREATE TOPIC t (id INTEGER NOT NULL, name VARCHAR)";

/// Every 7th record is bad; batches of random sizes.
void fill(TestNode& node, std::mt19937_64& random, int from, int until) {
  while (from < until) {
    std::vector<testing::TestRecord> records;
    const int end = std::min<int>(until, from + 1 + random() % 700);
    for (; from < end; ++from)
      records.push_back(
          {std::nullopt, from % 7 == 0 ? std::string("{]")
                                       : fmt::format(R"({{"id":{},"name":"n{}"}})", from, from)});
    node.must_produce("t", records);
  }
}

/// The chunks of a range: where each begins and how many rows it has, and a check of every row.
std::vector<std::pair<int, size_t>> chunks_of(Source& source, Offset from, Offset until) {
  Source::Cursor cursor{0, from, until, {}};
  const auto read = source.read(cursor, true);
  EXPECT_TRUE(read) << read.error().text;
  std::vector<std::pair<int, size_t>> chunks;
  const std::vector<size_t> columns{1, 0};
  int next = static_cast<int>(from);
  cut_chunks(cursor.spans, columns, [&](ReadChunk& chunk) {
    EXPECT_EQ(chunk.weights.size(), chunk.rows.size());
    for (size_t row = 0; row < chunk.rows.size(); ++row) {
      if (next % 7 == 0) ++next;
      EXPECT_EQ(chunk.rows.GetValue(1, row).GetValue<int>(), next);
      EXPECT_EQ(chunk.rows.GetValue(0, row).ToString(), fmt::format("n{}", next));
      if (row == 0) chunks.emplace_back(next, chunk.rows.size());
      ++next;
    }
  });
  if (next < until && next % 7 == 0) ++next;
  EXPECT_EQ(next, until);
  return chunks;
}

TEST(Source, TheSameRangeComesAsTheSameChunksHoweverItIsRead) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kCreate);
  std::mt19937_64 random(5);
  DecodeBudget budget;
  Source live(env, node.broker->find("t"), budget, nullptr);
  auto reader = live.subscribe({0, 1}).value();
  // Read as it comes, in small steps, by two readers.
  for (int end = 0; end < 12'000;) {
    const int begin = end;
    end += 1 + random() % 900;
    fill(node, random, begin, end);
    chunks_of(live, begin, end);
  }
  const Offset until = node.broker->find("t")->partitions[0]->high_watermark();
  DecodeBudget small{.bytes_max = 100'000};
  Source later(env, node.broker->find("t"), small, nullptr);
  auto other = later.subscribe({1, 0}).value();
  for (int i = 0; i < 60; ++i) {
    const Offset from = random() % until;
    const Offset to = from + 1 + random() % (until - from);
    EXPECT_EQ(chunks_of(live, from, to), chunks_of(later, from, to)) << from << " to " << to;
    EXPECT_LE(small.bytes, 100'000);
  }
  live.advance(*reader, 0, until);
  EXPECT_EQ(budget.bytes, 0);
}

TEST(Source, ColumnsThatNobodyReadsAnyMoreAreNotDecoded) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kCreate);
  std::mt19937_64 random(7);
  fill(node, random, 0, 3000);
  DecodeBudget budget;
  Source source(env, node.broker->find("t"), budget, nullptr);
  auto narrow = source.subscribe({0}).value();
  auto wide = source.subscribe({0, 1}).value();
  const auto columns_read = [&](Offset from, Offset until) {
    Source::Cursor cursor{0, from, until, {}};
    EXPECT_TRUE(source.read(cursor, true));
    return *cursor.spans.at(0).piece->columns;
  };
  EXPECT_EQ(columns_read(0, 100), (std::vector<size_t>{0, 1}));
  source.unsubscribe(wide);
  source.advance(*narrow, 0, 3000);  // what was decoded goes
  EXPECT_EQ(columns_read(2100, 2200), (std::vector<size_t>{0}));
  wide = source.subscribe({1}).value();
  EXPECT_EQ(columns_read(2100, 2200), (std::vector<size_t>{0, 1}));
}

TEST(Source, ManyThreadsMayReadAtOnceAndColumnsMayJoin) {
  io::TestEnv env;
  TestNode node(env);
  node.run(kCreate);
  std::mt19937_64 random(6);
  fill(node, random, 0, 15'000);
  DecodeBudget budget{.bytes_max = 300'000};
  Source source(env, node.broker->find("t"), budget, nullptr);
  auto first = source.subscribe({0}).value();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      std::mt19937_64 mine(t);
      auto reader = source.subscribe({0, 1}).value();
      for (int i = 0; i < 15; ++i) {
        const Offset from = mine() % 14'000;
        chunks_of(source, from, from + 1 + mine() % (15'000 - from));
      }
      source.unsubscribe(reader);
    });
  for (auto& thread : threads) thread.join();
  EXPECT_LE(budget.bytes, 300'000);
}

}  // namespace
}  // namespace millrace::flow

#include "flow/detail/changelog.h"

#include <gtest/gtest.h>

#include "flow/detail/lanes.h"

namespace millrace::flow {
namespace {

EpochInputs epoch(uint64_t number, InputRanges inputs) {
  return {{number, static_cast<int64_t>(number) * 1'000}, std::move(inputs)};
}

TEST(Commit, ReadsBackAsItWasWritten) {
  Commit commit;
  commit.epochs.push_back(epoch(7, {{"flights", {{0, 1, 4}}}}));
  commit.epochs.push_back(
      epoch(8, {{"a.b-c_d", {{0, 9, 10}, {3, 0, 1'000'000'000'000}}}, {"flights", {{1, 5, 6}}}}));
  const auto text = commit.to_json();
  EXPECT_EQ(text, R"({"epoch":8,"clock":8000,"inputs":{"a.b-c_d":[[0,9,10],[3,0,1000000000000]],)"
                  R"("flights":[[1,5,6]]},)"
                  R"("before":[{"epoch":7,"clock":7000,"inputs":{"flights":[[0,1,4]]}}]})");
  const auto read = Commit::parse(text);
  ASSERT_TRUE(read) << read.error().text;
  ASSERT_EQ(read->epochs.size(), 2);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(read->epochs[i].epoch.number, commit.epochs[i].epoch.number);
    EXPECT_EQ(read->epochs[i].epoch.clock_us, commit.epochs[i].epoch.clock_us);
    EXPECT_EQ(read->epochs[i].inputs, commit.epochs[i].inputs);
  }
}

TEST(Commit, NamesTheSharesWhereThereAreSeveral) {
  Commit commit;
  commit.epochs.push_back(epoch(1, {}));
  EXPECT_EQ(Commit::parse(commit.to_json())->shares, 1);
  commit.shares = 3;
  EXPECT_EQ(commit.to_json(), R"({"epoch":1,"clock":1000,"inputs":{},"shares":3})");
  EXPECT_EQ(Commit::parse(commit.to_json())->shares, 3);
}

TEST(Commit, RefusesWhatIsNone) {
  for (const char* text : {"", "{", "[]", "{}", R"({"epoch":-1,"clock":1,"inputs":{}})",
                           R"({"epoch":1,"clock":1,"inputs":{"a":[[0,1]]}})",
                           R"({"epoch":1,"clock":1,"inputs":{"a":[["0",1,2]]}})",
                           R"({"epoch":1,"clock":1,"inputs":{},"before":3})"}) {
    const auto read = Commit::parse(text);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, ErrorCode::kCorruptRecord);
  }
}

TEST(ChangelogWriter, EndsAnEpochWithItsCommitAndWeighsItsRows) {
  auto writer = ChangelogWriter::make({"x"}, {duckdb::LogicalType::INTEGER});
  ASSERT_TRUE(writer) << writer.error().text;
  auto delta = std::make_shared<Delta>();
  delta->rows.Initialize(duckdb::Allocator::DefaultAllocator(), {duckdb::LogicalType::INTEGER});
  for (int i = 0; i < 3; ++i) delta->rows.SetValue(0, i, duckdb::Value::INTEGER(i));
  delta->rows.SetCardinality(3);
  delta->weights = {1, -1, 5};
  DeltaStream stream;
  for (int i = 0; i < 20'000; ++i) stream.chunks.push_back(delta);  // many batches
  size_t records = 0;
  const Commit commit{{epoch(3, {{"t", {{0, 0, 3}}}})}};
  const auto bytes = (*writer)->write(stream, commit, &records);
  EXPECT_EQ(records, 60'001);
  const auto batches = log::validate_batches(bytes, true);
  ASSERT_TRUE(batches) << batches.error().text;
  EXPECT_GT(batches->size(), 2);
  std::vector<int64_t> weights;
  size_t commits = 0;
  const auto each = [&](const log::RecordView& record) {
    EXPECT_EQ(commits, 0);
    EXPECT_EQ(record.timestamp, 3);
    if (is_commit(record)) {
      ++commits;
      return;
    }
    const auto weight = weight_of(record);
    ASSERT_TRUE(weight);
    weights.push_back(*weight);
  };
  ASSERT_TRUE(log::for_each_record(bytes, true, each));
  EXPECT_EQ(commits, 1);
  ASSERT_EQ(weights.size(), 60'000);
  EXPECT_EQ(weights[0], 1);
  EXPECT_EQ(weights[1], -1);
  EXPECT_EQ(weights[2], 5);
}

TEST(ChangelogWriter, WritesTheSameRowsInTheSameOrderOnSeveralLanes) {
  auto writer = ChangelogWriter::make({"x"}, {duckdb::LogicalType::INTEGER});
  ASSERT_TRUE(writer) << writer.error().text;
  DeltaStream stream;
  for (int c = 0; c < 30; ++c) {
    auto delta = std::make_shared<Delta>();
    delta->rows.Initialize(duckdb::Allocator::DefaultAllocator(), {duckdb::LogicalType::INTEGER});
    for (int i = 0; i < 1000; ++i) delta->rows.SetValue(0, i, duckdb::Value::INTEGER(c * 1000 + i));
    delta->rows.SetCardinality(1000);
    delta->weights.assign(1000, 1);
    stream.chunks.push_back(std::move(delta));
  }
  const auto values_of = [](std::string_view bytes) {
    std::vector<std::string> values;
    EXPECT_TRUE(log::validate_batches(bytes, true));
    EXPECT_TRUE(log::for_each_record(bytes, true, [&](const log::RecordView& record) {
      values.emplace_back(record.value.value_or(""));
    }));
    return values;
  };
  Lanes lanes(3);
  const Commit commit{{epoch(3, {{"t", {{0, 0, 3}}}})}};
  size_t records = 0;
  const auto alone = values_of((*writer)->write(stream, commit, &records));
  for (int round = 0; round < 3; ++round)
    EXPECT_EQ(alone, values_of((*writer)->write(stream, commit, &records, &lanes)));
  EXPECT_EQ(alone.size(), 30'001);
}

TEST(ChangelogWriter, ARunMayEndWhereABatchIsFull) {
  auto writer = ChangelogWriter::make({"x"}, {duckdb::LogicalType::VARCHAR});
  ASSERT_TRUE(writer) << writer.error().text;
  Lanes lanes(2);
  // Around the length of which 256 rows fill a batch, so that 2,048 fill eight.
  for (size_t length = 1000; length < 1024; length += 2) {
    auto delta = std::make_shared<Delta>();
    delta->rows.Initialize(duckdb::Allocator::DefaultAllocator(), {duckdb::LogicalType::VARCHAR});
    for (size_t i = 0; i < STANDARD_VECTOR_SIZE; ++i)
      delta->rows.SetValue(0, i, duckdb::Value(std::string(length, 'x')));
    delta->rows.SetCardinality(STANDARD_VECTOR_SIZE);
    delta->weights.assign(STANDARD_VECTOR_SIZE, 1);
    const Commit commit{{epoch(3, {{"t", {{0, 0, 3}}}})}};
    size_t records = 0;
    DeltaStream stream;
    stream.chunks = {delta, delta};
    const auto bytes = (*writer)->write(stream, commit, &records, &lanes);
    EXPECT_TRUE(log::validate_batches(bytes, true));
    EXPECT_EQ(records, 2 * STANDARD_VECTOR_SIZE + 1);
  }
}

TEST(Changelog, AWeightThatIsNoNumberIsCorrupt) {
  for (const char* text : {"", "x", "1x", "0", "99999999999999999999"}) {
    log::RecordView record;
    record.headers.push_back({"weight", text});
    EXPECT_FALSE(weight_of(record)) << text;
  }
}

}  // namespace
}  // namespace millrace::flow

#include "table/row_store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <random>
#include <set>
#include <thread>

namespace millrace::table {
namespace {

using duckdb::LogicalType;
using duckdb::Value;

const duckdb::vector<LogicalType> kTypes = {LogicalType::BIGINT, LogicalType::VARCHAR,
                                            LogicalType::LIST(LogicalType::INTEGER)};

void fill(duckdb::DataChunk& chunk, int64_t first, size_t count) {
  chunk.Initialize(duckdb::Allocator::DefaultAllocator(), kTypes);
  for (size_t i = 0; i < count; ++i) {
    const auto n = first + static_cast<int64_t>(i);
    chunk.SetValue(0, i, Value::BIGINT(n));
    chunk.SetValue(1, i, n % 7 == 0 ? Value() : Value("the row of number " + std::to_string(n)));
    chunk.SetValue(2, i, Value::LIST(LogicalType::INTEGER, {Value::INTEGER(static_cast<int>(n))}));
  }
  chunk.SetCardinality(count);
}

std::map<int64_t, std::string> rows_of(RowStore::Snapshot& snapshot) {
  std::map<int64_t, std::string> rows;
  duckdb::DataChunk chunk;
  chunk.Initialize(duckdb::Allocator::DefaultAllocator(),
                   {LogicalType::BIGINT, LogicalType::VARCHAR});
  while (snapshot.next({0, 1}, chunk)) {
    for (size_t i = 0; i < chunk.size(); ++i)
      rows[chunk.GetValue(0, i).GetValue<int64_t>()] = chunk.GetValue(1, i).ToString();
    chunk.Reset();
  }
  return rows;
}

TEST(RowStore, GivesBackWhatWasPut) {
  RowStore store({kTypes.begin(), kTypes.end()});
  duckdb::DataChunk chunk, out;
  fill(chunk, 0, 2000);
  std::vector<RowStore::Slot> slots;
  store.insert(chunk, slots);
  slots.push_back(store.insert(chunk, 5));
  EXPECT_EQ(store.size(), 2001u);
  out.Initialize(duckdb::Allocator::DefaultAllocator(), kTypes);
  for (const size_t row : {0u, 5u, 1999u}) store.read(slots[row], out);
  store.read(slots[2000], out);
  ASSERT_EQ(out.size(), 4u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(out.GetValue(i, 2).ToString(), chunk.GetValue(i, 1999).ToString());
    EXPECT_EQ(out.GetValue(i, 3).ToString(), chunk.GetValue(i, 5).ToString());
  }
}

TEST(RowStore, SnapshotStaysAsItWas) {
  RowStore store({kTypes.begin(), kTypes.end()});
  duckdb::DataChunk chunk, more;
  fill(chunk, 0, 2000);
  fill(more, 10'000, 1000);
  std::vector<RowStore::Slot> slots, other;
  store.insert(chunk, slots);
  const auto before = store.snapshot();
  for (size_t i = 0; i < slots.size(); i += 2) store.erase(slots[i]);
  store.insert(more, other);
  EXPECT_EQ(before->size(), 2000u);
  const auto rows = rows_of(*before);
  ASSERT_EQ(rows.size(), 2000u);
  EXPECT_EQ(rows.rbegin()->first, 1999);
  EXPECT_EQ(rows_of(*store.snapshot()).size(), 2000u);
  EXPECT_EQ(store.size(), 2000u);
  EXPECT_FALSE(store.holds(-1));
  EXPECT_FALSE(store.holds(1'000'000));
}

TEST(RowStore, GivesSlotsAndColumnsAsAsked) {
  RowStore store({kTypes.begin(), kTypes.end()});
  duckdb::DataChunk chunk, out;
  fill(chunk, 100, 10);
  std::vector<RowStore::Slot> slots;
  store.insert(chunk, slots);
  store.erase(slots[0]);
  out.Initialize(duckdb::Allocator::DefaultAllocator(),
                 {kTypes[2], LogicalType::BIGINT, LogicalType::BIGINT, LogicalType::BIGINT});
  const auto snapshot = store.snapshot();
  ASSERT_TRUE(snapshot->next({2, SIZE_MAX, 0, 0}, out));
  ASSERT_EQ(out.size(), 9u);
  EXPECT_EQ(out.GetValue(0, 0).ToString(), "[101]");
  EXPECT_EQ(out.GetValue(1, 0), Value::BIGINT(slots[1]));
  EXPECT_EQ(out.GetValue(2, 0), Value::BIGINT(101));
  EXPECT_EQ(out.GetValue(3, 0), Value::BIGINT(101));
  out.Reset();
  EXPECT_FALSE(snapshot->next({2, SIZE_MAX, 0, 0}, out));
}

TEST(RowStore, RowsThatFillBlocksAtOnceGoAndComeAsOthers) {
  RowStore store({kTypes.begin(), kTypes.end()});
  duckdb::DataChunk chunk, out;
  std::vector<RowStore::Slot> slots;
  fill(chunk, 0, 2048);  // four blocks
  store.insert(chunk, slots);
  EXPECT_EQ(std::set(slots.begin(), slots.end()).size(), 2048u);
  const auto before = store.snapshot();
  for (size_t i = 0; i < slots.size(); i += 2) store.erase(slots[i]);
  duckdb::DataChunk more;
  fill(more, 5000, 1500);  // the slots that are free, then blocks, then a part of one
  std::vector<RowStore::Slot> later;
  store.insert(more, later);
  for (const auto slot : later) EXPECT_EQ(std::ranges::count(slots, slot), 0);
  EXPECT_EQ(store.size(), 1024u + 1500u);
  EXPECT_EQ(rows_of(*before).size(), 2048u);
  const auto rows = rows_of(*store.snapshot());
  EXPECT_EQ(rows.size(), 2524u);
  for (int64_t n = 0; n < 2048; ++n) EXPECT_EQ(rows.contains(n), n % 2 == 1) << n;
  EXPECT_EQ(rows.at(6499), "the row of number 6499");
  EXPECT_EQ(rows.at(5033), "NULL");
  out.Initialize(duckdb::Allocator::DefaultAllocator(), kTypes);
  store.read(slots[2047], out);
  EXPECT_EQ(out.GetValue(0, 0), Value::BIGINT(2047));
}

TEST(RowStore, EqualsAMapUnderRandomWrites) {
  RowStore store({kTypes.begin(), kTypes.end()});
  std::map<RowStore::Slot, int64_t> model;
  std::mt19937 random(1);
  int64_t next = 0;
  std::shared_ptr<RowStore::Snapshot> held;
  for (int round = 0; round < 200; ++round) {
    duckdb::DataChunk chunk;
    fill(chunk, next, round % 8 == 0 ? random() % 2048 : random() % 300);
    std::vector<RowStore::Slot> slots;
    store.insert(chunk, slots);
    for (const auto slot : slots) ASSERT_TRUE(model.emplace(slot, next++).second);
    for (auto it = model.begin(); it != model.end();) {
      if (random() % 3 != 0) {
        ++it;
        continue;
      }
      store.erase(it->first);
      it = model.erase(it);
    }
    if (round % 5 == 0) held = store.snapshot();
  }
  const auto rows = rows_of(*store.snapshot());
  ASSERT_EQ(rows.size(), model.size());
  for (const auto& [slot, n] : model) EXPECT_TRUE(rows.contains(n));
}

TEST(RowStore, IsReadWhileItIsWritten) {
  RowStore store({kTypes.begin(), kTypes.end()});
  duckdb::DataChunk chunk;
  fill(chunk, 0, 1500);
  std::vector<RowStore::Slot> slots;
  store.insert(chunk, slots);
  std::atomic<bool> stop = false;
  std::atomic<size_t> scans = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i)
    readers.emplace_back([&] {
      while (!stop || scans < 10) {
        // A writer erases and puts back the same row: every state has 1500 rows or one less.
        const size_t count = rows_of(*store.snapshot()).size();
        if (count != 1500 && count != 1499) ADD_FAILURE() << count;
        ++scans;
      }
    });
  for (int i = 0; i < 20'000 || scans < 4; ++i) {
    const auto row = static_cast<size_t>(i) % 1500;
    store.erase(slots[row]);
    slots[row] = store.insert(chunk, row);
  }
  stop = true;
  for (auto& reader : readers) reader.join();
}

}  // namespace
}  // namespace millrace::table

#include "flow/detail/state_memory.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "flow/detail/flat_table.h"
#include "flow/detail/slab.h"

namespace millrace::flow {
namespace {

std::string folder() { return testing::TempDir() + "/millrace_state_memory"; }

std::shared_ptr<StateBudget> budget(size_t bytes_max, const std::string& where) {
  // One resident byte: everything that is spilled is always too much.
  return std::make_shared<StateBudget>(StateBudget::Limits{bytes_max, 1, where});
}

TEST(StateMemory, WhatIsTooMuchGoesToAFileAndComesBackAsItWas) {
  const auto shared = budget(4 << 20, folder());
  {
    const auto memory = std::make_shared<StateMemory>(shared);
    const StateMemory::Scope scope(memory);
    Slab slab;
    std::vector<std::pair<char*, size_t>> pieces;
    for (size_t i = 0; i < 100'000; ++i) {
      const size_t bytes = 100 + i % 300 + (i % 5000 == 0 ? 100'000 : 0);
      auto* piece = static_cast<char*>(slab.allocate(bytes));
      std::memset(piece, static_cast<int>(i), bytes);
      pieces.emplace_back(piece, bytes);
    }
    EXPECT_GT(memory->spilled_bytes(), 20u << 20);
    EXPECT_LT(shared->in_memory(), 4u << 20);
    memory->trim();
    for (size_t i = 0; i < pieces.size(); ++i) {
      const auto [piece, bytes] = pieces[i];
      ASSERT_EQ(piece[0], static_cast<char>(i));
      ASSERT_EQ(std::memcmp(piece, piece + 1, bytes - 1), 0) << i;
    }
    EXPECT_TRUE(std::filesystem::is_empty(folder())) << "a crash would leave the file";
    EXPECT_FALSE(memory->is_full());
  }
  EXPECT_EQ(shared->in_memory(), 0u);
}

TEST(StateMemory, WithoutADiskItIsFullWhoHasMoreThanItsShare) {
  const auto shared = budget(1 << 20, "/proc/nowhere");
  const auto large = std::make_shared<StateMemory>(shared);
  const auto small = std::make_shared<StateMemory>(shared);
  for (int i = 0; i < 20; ++i) large->take(64 << 10);
  small->take(64 << 10);
  EXPECT_EQ(large->spilled_bytes(), 0u);
  EXPECT_TRUE(large->is_full());
  EXPECT_FALSE(small->is_full());
  // What a view holds besides counts too.
  small->report(1 << 20);
  EXPECT_TRUE(small->is_full());
  small->report(64 << 10);
  EXPECT_FALSE(small->is_full());
}

TEST(StateMemory, TablesThatAreTooMuchAreOnDiskTooAndLeaveTheirRoomToOthers) {
  const auto shared = budget(2 << 20, folder());
  const auto memory = std::make_shared<StateMemory>(shared);
  {
    const StateMemory::Scope scope(memory);
    PieceTable table;
    memory->take(1 << 20);  // from here on, what is new goes to disk
    for (uint32_t i = 1; i <= 500'000; ++i) table.insert({i * 2'654'435'761u, i});
    memory->trim();
    EXPECT_LT(shared->in_memory(), 2u << 20);
    EXPECT_EQ(memory->spilled_bytes(), (table.memory_bytes() + 4095) / 4096 * 4096);
    for (uint32_t i = 1; i <= 500'000; ++i)
      ASSERT_TRUE(table.find(i * 2'654'435'761u, [&](const auto& e) { return e.piece == i; }));
  }
  EXPECT_EQ(memory->spilled_bytes(), 0u);
  // Of the same sizes: what the table left is taken again.
  void* const first = memory->borrow(64 << 10);
  memory->give_back(first, 64 << 10);
  EXPECT_EQ(memory->borrow(64 << 10), first);
  memory->give_back(first, 64 << 10);
}

TEST(StateMemory, OutsideAScopeThereIsNoLimit) {
  const auto shared = budget(1, folder());
  {
    const StateMemory::Scope scope(std::make_shared<StateMemory>(shared));
    EXPECT_EQ(StateMemory::current(), StateMemory::current());
  }
  EXPECT_NE(StateMemory::current(), StateMemory::current());
  Slab slab;
  slab.allocate(100);
  EXPECT_EQ(shared->in_memory(), 0u);
}

}  // namespace
}  // namespace millrace::flow

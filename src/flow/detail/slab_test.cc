#include "flow/detail/slab.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>
#include <set>

#include "flow/detail/frozen_slab.h"

namespace millrace::flow {
namespace {

TEST(Slab, PiecesOfAllSizesStandApartAndAreUsedAgain) {
  Slab slab;
  std::mt19937_64 random(7);
  std::map<char*, size_t> held;
  size_t most = 0;
  for (int i = 0; i < 20'000; ++i) {
    if (!held.empty() && random() % 2 == 0) {
      const auto at = std::next(held.begin(), static_cast<ptrdiff_t>(random() % held.size() % 64));
      const auto [piece, bytes] = *at;
      for (size_t b = 0; b < bytes; ++b) ASSERT_EQ(piece[b], static_cast<char>(bytes)) << bytes;
      slab.release(piece, bytes);
      held.erase(at);
      continue;
    }
    const size_t bytes = 1 + random() % (i % 100 == 0 ? 200'000 : 600);
    auto* piece = static_cast<char*>(slab.allocate(bytes));
    ASSERT_EQ(reinterpret_cast<uintptr_t>(piece) % 16, 0u);
    std::memset(piece, static_cast<int>(bytes), bytes);
    ASSERT_TRUE(held.emplace(piece, bytes).second);
    most = std::max(most, held.size());
  }
  const size_t before = slab.memory_bytes();
  for (const auto& [piece, bytes] : held) slab.release(piece, bytes);
  for (const auto& [piece, bytes] : held) slab.allocate(bytes);
  EXPECT_EQ(slab.memory_bytes(), before);
}

TEST(Slab, WhatWasInUseIsFrozenUntilItIsAskedForWhateverComesAndGoesMeanwhile) {
  Slab slab;
  std::mt19937_64 random(11);
  std::map<void*, size_t> held;
  const auto add = [&] {
    const size_t bytes = 16 + random() % 300 + (random() % 50 == 0 ? 20'000 : 0);
    held.emplace(slab.allocate(bytes), bytes);
  };
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 300; ++i) add();
    slab.freeze();
    std::set<void*> frozen;
    for (const auto& [piece, bytes] : held) frozen.insert(piece);
    // A round may be given up in the middle: the next freeze() begins anew.
    for (uint64_t left = random() % 1000; left > 0; --left) {
      if (random() % 3 == 0) {
        void* piece = slab.thaw_next();
        ASSERT_EQ(frozen.erase(piece), piece ? 1u : 0u);
        if (!piece) ASSERT_TRUE(frozen.empty());
      } else if (random() % 2 == 0 && !held.empty()) {
        const auto at = std::next(held.begin(), static_cast<ptrdiff_t>(random() % held.size()));
        ASSERT_EQ(slab.thaw(at->first), frozen.erase(at->first) == 1);
        ASSERT_FALSE(slab.thaw(at->first));
        slab.release(at->first, at->second);
        held.erase(at);
      } else {
        add();
      }
    }
  }
}

/// Numbers in a slab, saved a few bytes at a time while they change.
TEST(FrozenSlab, GivesEachPieceOnceAsItWas) {
  Slab slab;
  FrozenSlab frozen(slab);
  std::mt19937_64 random(13);
  std::set<uint64_t*> held;
  uint64_t next = 0;
  const auto save = [](const void* piece, StateWriter& out) {
    out.number(FrozenSlab::kPiece);
    out.number(*static_cast<const uint64_t*>(piece));
  };
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 500; ++i) {
      auto* number = static_cast<uint64_t*>(slab.allocate(sizeof(uint64_t)));
      *number = next++;
      held.insert(number);
    }
    std::multiset<uint64_t> expected;
    for (const auto* number : held) expected.insert(*number);
    frozen.freeze();
    std::string saved;
    StateWriter out([&](const std::string& block) { saved += block; });
    while (!frozen.save_some(out, 20, [&](std::span<void* const> pieces, StateWriter& to) {
      for (const void* piece : pieces) save(piece, to);
    })) {
      auto* number = *std::next(held.begin(), static_cast<ptrdiff_t>(random() % held.size()));
      if (auto* early = frozen.thaw(number)) save(number, *early);
      if (random() % 2 == 0) {
        *number = next++;
      } else {
        held.erase(number);
        slab.release(number, sizeof(uint64_t));
      }
    }
    out.finish();
    StateReader in([&]() -> Result<std::string> { return std::exchange(saved, {}); });
    std::multiset<uint64_t> got;
    while (in.number<uint8_t>() == FrozenSlab::kPiece) got.insert(in.number<uint64_t>());
    EXPECT_TRUE(in.ok());
    EXPECT_EQ(got, expected);
  }
}

/// A snapshot that is left half way, as when its view closes, and another one.
TEST(FrozenSlab, GivesNothingOfAFreezeThatWasLeft) {
  Slab slab;
  FrozenSlab frozen(slab);
  auto* number = static_cast<uint64_t*>(slab.allocate(sizeof(uint64_t)));
  const auto save = [](const void* piece, StateWriter& out) {
    out.number(FrozenSlab::kPiece);
    out.number(*static_cast<const uint64_t*>(piece));
  };
  *number = 1;
  frozen.freeze();
  auto* early = frozen.thaw(number);
  ASSERT_TRUE(early);
  save(number, *early);
  *number = 2;
  frozen.freeze();
  std::string saved;
  StateWriter out([&](const std::string& block) { saved += block; });
  while (!frozen.save_some(out, 20, [&](std::span<void* const> pieces, StateWriter& to) {
    for (const void* piece : pieces) save(piece, to);
  })) {
  }
  out.finish();
  StateReader in([&]() -> Result<std::string> { return std::exchange(saved, {}); });
  std::vector<uint64_t> got;
  while (in.number<uint8_t>() == FrozenSlab::kPiece) got.push_back(in.number<uint64_t>());
  EXPECT_TRUE(in.ok());
  EXPECT_EQ(got, std::vector<uint64_t>{2});
}

}  // namespace
}  // namespace millrace::flow

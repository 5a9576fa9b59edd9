#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/check.h"
#include "flow/detail/state_memory.h"

namespace millrace::flow {

/// Memory for many small things of known size. Released pieces are kept by size and used again; all
/// is given back when its StateMemory goes. Pieces are aligned to 16 bytes.
///
/// Pieces of one size stand side by side in blocks. Two bits of a piece stand apart from them,
/// where they are in memory though the pieces are on disk: whether it is in use, and whether it is
/// frozen, which is: it was in use when freeze() was called and nobody has asked for it since.
class Slab {
 public:
  /// What stands for a piece in half the bytes of its address: 0 for none. 64 GiB have one.
  using Handle = uint32_t;

  /// Of a piece in use.
  Handle handle_of(const void* piece) const {
    const auto address = reinterpret_cast<uintptr_t>(piece);
    const auto* head = reinterpret_cast<const Head*>(address & ~(kBlockBytes - 1));
    return head->number << kOffsetBits | static_cast<Handle>(address % kBlockBytes / 16);
  }
  void* at(Handle handle) const {
    return blocks_[handle >> kOffsetBits].memory + (handle & ((1u << kOffsetBits) - 1)) * 16;
  }

  /// Brings into the cache what handle_of() looks at: the heads of blocks stand a power of two
  /// apart, so that caches hold few of them.
  void warm(const void* piece) const {
    const auto address = reinterpret_cast<uintptr_t>(piece);
    __builtin_prefetch(reinterpret_cast<const void*>(address & ~(kBlockBytes - 1)));
  }

  void* allocate(size_t bytes) {
    const size_t n = class_of(bytes);
    void* piece = free_[n];
    if (piece)
      free_[n] = *static_cast<void**>(piece);
    else
      piece = carve(n);
    Block& block = block_of(piece);
    const size_t at = block.index(piece);
    used(block)[at / 64] |= uint64_t{1} << (at % 64);
    return piece;
  }

  /// `bytes` as in allocate(). Of a piece that is not frozen.
  void release(void* piece, size_t bytes) {
    MR_CHECK(!thaw(piece));
    Block& block = block_of(piece);
    const size_t at = block.index(piece);
    used(block)[at / 64] &= ~(uint64_t{1} << (at % 64));
    const size_t n = class_of(bytes);
    *static_cast<void**>(piece) = free_[n];
    free_[n] = piece;
  }

  /// Costs some microseconds a megabyte.
  void freeze();
  /// Whether the piece was frozen; it is not any more.
  bool thaw(void* piece) {
    if (!has_frozen_) return false;
    const Block& block = block_of(piece);
    const size_t at = block.index(piece);
    if (block.bits >= frozen_.size()) return false;  // the block was made later
    uint64_t& word = frozen_[block.bits + at / 64];
    const uint64_t bit = uint64_t{1} << (at % 64);
    const bool was = word & bit;
    word &= ~bit;
    return was;
  }
  /// Any piece that is frozen, thawed; null: none is.
  void* thaw_next();

  /// What it has taken in use of the system's memory.
  size_t memory_bytes() const { return memory_bytes_; }

 private:
  static constexpr size_t kBlockBytes = 64 << 10;  // a block is aligned to its size
  static constexpr size_t kRegionBlocksMax = 16;
  // Classes in steps of 16 bytes up to 512, then four a doubling.
  static constexpr size_t kFine = 32;
  static constexpr size_t kClasses = kFine + 4 * 40;
  static constexpr size_t kShared = kFine + 4 * 4;  // classes up to 8 KiB; others: a block a piece

  static constexpr size_t kOffsetBits = 12;  // of a handle: of 16 bytes, where in its block
  static constexpr size_t kBlocksMax = size_t{1} << (32 - kOffsetBits);

  /// At the start of a block's memory; the pieces follow.
  struct alignas(16) Head {
    uint32_t number;  // in blocks_
  };
  struct Block {
    char* memory;
    uint32_t stride;
    uint32_t count;  // of pieces that fit
    uint32_t begun;  // of pieces that were ever handed out
    uint32_t bits;   // where those of its pieces begin, in words

    size_t words() const { return (count + 63) / 64; }
    char* piece(size_t at) const { return memory + sizeof(Head) + at * stride; }
    size_t index(const void* piece) const {
      const auto offset = static_cast<uint32_t>(static_cast<const char*>(piece) - memory);
      return (offset - sizeof(Head)) / stride;
    }
  };

  uint64_t* used(const Block& block) { return used_.data() + block.bits; }
  Block& block_of(const void* piece) {
    const auto address = reinterpret_cast<uintptr_t>(piece) & ~(kBlockBytes - 1);
    return blocks_[reinterpret_cast<const Head*>(address)->number];
  }
  static size_t class_of(size_t bytes) {
    if (bytes <= kFine * 16) return bytes == 0 ? 0 : (bytes - 1) / 16;
    const size_t power = static_cast<size_t>(std::bit_width(bytes - 1)) - 1;  // >= 9
    const size_t quarter = (bytes - 1) >> (power - 2) & 3;
    return kFine + (power - 9) * 4 + quarter;
  }
  static size_t size_of(size_t n) {
    if (n < kFine) return (n + 1) * 16;
    const size_t power = 9 + (n - kFine) / 4;
    return (size_t{1} << power) + ((n - kFine) % 4 + 1) * (size_t{1} << (power - 2));
  }
  /// A piece that was never in use.
  void* carve(size_t n);
  Block& make_block(void* memory, size_t stride, size_t count);

  const std::shared_ptr<StateMemory> memory_ = StateMemory::current();
  std::vector<Block> blocks_;
  std::vector<uint64_t> used_, frozen_;  // bits of all blocks
  char* spare_ = nullptr;                // memory for blocks that are not made yet
  size_t spare_blocks_ = 0;
  std::array<uint32_t, kShared> filling_{};  // numbers, from 1; 0: none
  std::array<void*, kClasses> free_{};
  size_t memory_bytes_ = 0;

  bool has_frozen_ = false;
  size_t next_block_ = 0, next_word_ = 0;  // before, nothing is frozen
};

}  // namespace millrace::flow

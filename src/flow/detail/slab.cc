#include "flow/detail/slab.h"

#include <cstring>

namespace millrace::flow {

void* Slab::carve(size_t n) {
  const size_t stride = size_of(n);
  Block* block = n < kShared ? filling_[n] : nullptr;
  if (!block || block->begun == block->count) {
    if (n < kShared) {
      if (spare_blocks_ == 0) {
        spare_blocks_ = std::clamp<size_t>(blocks_.size(), 1, kRegionBlocksMax);
        spare_ = static_cast<char*>(memory_->take(spare_blocks_ * kBlockBytes));
      }
      // Of a piece, beside it: two bits. Besides: the block's head, and what rounding takes.
      const size_t count = (kBlockBytes - 48) * 4 / (4 * stride + 1);
      filling_[n] = block = make_block(spare_, stride, count);
      spare_ += kBlockBytes;
      --spare_blocks_;
    } else {
      block = make_block(memory_->take(sizeof(Block) + 16 + stride), stride, 1);
    }
  }
  memory_bytes_ += stride;
  return block->piece(block->begun++);
}

Slab::Block* Slab::make_block(void* memory, size_t stride, size_t count) {
  auto* block = static_cast<Block*>(memory);
  MR_CHECK(blocks_.size() < kBlocksMax);
  *block = {static_cast<uint32_t>(stride),
            static_cast<uint32_t>(blocks_.size()),
            static_cast<uint16_t>(count),
            0,
            0,
            0};
  const size_t first = sizeof(Block) + 2 * sizeof(uint64_t) * block->words();
  block->first = static_cast<uint16_t>(first);
  std::memset(block->used(), 0, first - sizeof(Block));
  blocks_.push_back(block);
  memory_bytes_ += first;
  return block;
}

void Slab::freeze() {
  for (Block* block : blocks_)
    std::memcpy(block->frozen(), block->used(), (block->begun + 63) / 64 * sizeof(uint64_t));
  has_frozen_ = !blocks_.empty();
  next_block_ = next_word_ = 0;
}

void* Slab::thaw_next() {
  if (!has_frozen_) return nullptr;
  for (; next_block_ < blocks_.size(); ++next_block_, next_word_ = 0) {
    Block* block = blocks_[next_block_];
    for (; next_word_ < block->words(); ++next_word_) {
      uint64_t& word = block->frozen()[next_word_];
      if (word == 0) continue;
      const auto bit = static_cast<size_t>(std::countr_zero(word));
      word &= word - 1;
      return block->piece(next_word_ * 64 + bit);
    }
  }
  has_frozen_ = false;
  return nullptr;
}

}  // namespace millrace::flow

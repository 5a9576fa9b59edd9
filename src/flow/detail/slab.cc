#include "flow/detail/slab.h"

#include <cstring>

namespace millrace::flow {

void* Slab::carve(size_t n) {
  const size_t stride = size_of(n);
  Block* block = n < kShared && filling_[n] != 0 ? &blocks_[filling_[n] - 1] : nullptr;
  if (!block || block->begun == block->count) {
    if (n < kShared) {
      if (spare_blocks_ == 0) {
        spare_blocks_ = std::clamp<size_t>(blocks_.size(), 1, kRegionBlocksMax);
        spare_ = static_cast<char*>(memory_->take(spare_blocks_ * kBlockBytes));
      }
      block = &make_block(spare_, stride, (kBlockBytes - sizeof(Head)) / stride);
      filling_[n] = static_cast<uint32_t>(blocks_.size());
      spare_ += kBlockBytes;
      --spare_blocks_;
    } else {
      block = &make_block(memory_->take(sizeof(Head) + stride), stride, 1);
    }
  }
  memory_bytes_ += stride;
  return block->piece(block->begun++);
}

Slab::Block& Slab::make_block(void* memory, size_t stride, size_t count) {
  MR_CHECK(blocks_.size() < kBlocksMax);
  static_cast<Head*>(memory)->number = static_cast<uint32_t>(blocks_.size());
  blocks_.push_back({static_cast<char*>(memory), static_cast<uint32_t>(stride),
                     static_cast<uint32_t>(count), 0, static_cast<uint32_t>(used_.size())});
  Block& block = blocks_.back();
  used_.resize(used_.size() + block.words());
  memory_bytes_ += sizeof(Head) + sizeof(Block) + 2 * sizeof(uint64_t) * block.words();
  return block;
}

void Slab::freeze() {
  frozen_ = used_;
  has_frozen_ = !blocks_.empty();
  next_block_ = next_word_ = 0;
}

void* Slab::thaw_next() {
  if (!has_frozen_) return nullptr;
  for (; next_block_ < blocks_.size(); ++next_block_, next_word_ = 0) {
    const Block& block = blocks_[next_block_];
    if (block.bits >= frozen_.size()) break;  // it was made later
    for (; next_word_ < block.words(); ++next_word_) {
      uint64_t& word = frozen_[block.bits + next_word_];
      if (word == 0) continue;
      const auto bit = static_cast<size_t>(std::countr_zero(word));
      word &= word - 1;
      return block.piece(next_word_ * 64 + bit);
    }
  }
  has_frozen_ = false;
  frozen_.clear();
  return nullptr;
}

}  // namespace millrace::flow

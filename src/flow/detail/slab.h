#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace millrace::flow {

/// Memory for many small things of known size. Released pieces are kept by size and used again; all
/// is given back at the end. Pieces are aligned to 16 bytes.
class Slab {
 public:
  void* allocate(size_t bytes) {
    const size_t n = class_of(bytes);
    if (free_[n]) {
      void* piece = free_[n];
      free_[n] = *static_cast<void**>(piece);
      return piece;
    }
    const size_t size = size_of(n);
    if (left_ < size) grow(size);
    char* piece = next_;
    next_ += size;
    left_ -= size;
    return piece;
  }

  /// `bytes` as in allocate().
  void release(void* piece, size_t bytes) {
    const size_t n = class_of(bytes);
    *static_cast<void**>(piece) = free_[n];
    free_[n] = piece;
  }

  /// What it holds of the system's memory.
  size_t memory_bytes() const { return memory_bytes_; }

 private:
  static constexpr size_t kFine =
      32;  // classes in steps of 16 bytes up to 512, then four a doubling
  static constexpr size_t kClasses = kFine + 4 * 40;

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

  void grow(size_t bytes) {
    const size_t size = std::max(bytes, block_bytes_);
    block_bytes_ = std::min(block_bytes_ * 2, kBlockBytesMax);
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(size));
    next_ = blocks_.back().get();
    left_ = size;
    memory_bytes_ += size;
  }

  static constexpr size_t kBlockBytesMax = 1 << 20;
  size_t block_bytes_ = 4096;
  std::vector<std::unique_ptr<char[]>> blocks_;
  std::array<void*, kClasses> free_{};
  char* next_ = nullptr;
  size_t left_ = 0;
  size_t memory_bytes_ = 0;
};

}  // namespace millrace::flow

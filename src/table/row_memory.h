#pragma once

#include <cstddef>

namespace millrace::table {

/// Where a store's rows lie, when not on the heap. Any thread.
class RowMemory {
 public:
  virtual ~RowMemory() = default;
  /// Aligned to 16 bytes; never null. What is borrowed is given back with the same size.
  virtual void* borrow(size_t bytes) = 0;
  virtual void give_back(void* borrowed, size_t bytes) = 0;
};

}  // namespace millrace::table

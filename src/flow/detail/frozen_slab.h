#pragma once

#include <algorithm>
#include <array>
#include <deque>
#include <span>
#include <string>

#include "flow/detail/slab.h"
#include "flow/detail/state_stream.h"

namespace millrace::flow {

/// Saves what stands in a slab as it was at one moment, a part at a time, while it goes on
/// changing: whoever is about to change or release a piece asks thaw() first, and saves it at once
/// if it was not saved yet. Each piece begins with kPiece, so that the end can be told.
class FrozenSlab {
 public:
  static constexpr uint8_t kEnd = 0, kPiece = 1;

  explicit FrozenSlab(Slab& slab) : slab_(slab) {}

  void freeze() {
    slab_.freeze();
    // What was saved early for a snapshot that was left half way is none of this one's.
    early_.finish();
    early_blocks_.clear();
    saved_ = false;
  }
  /// Where the piece is to be saved now, before it changes; null: it need not be.
  StateWriter* thaw(void* piece) { return slab_.thaw(piece) ? &early_ : nullptr; }
  /// Saves about `bytes` more, with put(pieces, out), a span of some; true when all is saved, and
  /// from then on.
  template <typename F>
  bool save_some(StateWriter& out, size_t bytes, F&& put) {
    if (saved_) return true;
    early_.finish();
    const auto until = out.written() + bytes;
    while (out.written() < until) {
      if (!early_blocks_.empty()) {
        out.raw(early_blocks_.front().data(), early_blocks_.front().size());
        early_blocks_.pop_front();
        continue;
      }
      std::array<void*, kBatchMax> pieces;
      const size_t batch = std::min(kBatchMax, 1 + bytes / 64);
      size_t count = 0;
      while (count < batch && (pieces[count] = slab_.thaw_next())) ++count;
      if (count == 0) {
        out.number(kEnd);
        return saved_ = true;
      }
      put(std::span<void* const>(pieces.data(), count), out);
    }
    return false;
  }

 private:
  static constexpr size_t kBatchMax = 64;

  Slab& slab_;
  std::deque<std::string> early_blocks_;
  StateWriter early_{[this](std::string block) { early_blocks_.push_back(std::move(block)); }};
  bool saved_ = true;
};

}  // namespace millrace::flow

#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace millrace::io::detail {

/// What a disk without the system's file cache is written from: memory that begins at a block, a
/// few of them kept by each thread for the next.
class BlockBuffer {
 public:
  static constexpr size_t kBlock = 4096;  // no disk asks for more
  static constexpr size_t kBytes = size_t{1} << 20;

  BlockBuffer() {
    if (kept_.empty()) {
      bytes_.reset(static_cast<char*>(std::aligned_alloc(kBlock, kBytes)));
    } else {
      bytes_ = std::move(kept_.back());
      kept_.pop_back();
    }
  }
  ~BlockBuffer() {
    if (kept_.size() < kKept) kept_.push_back(std::move(bytes_));
  }
  BlockBuffer(const BlockBuffer&) = delete;
  BlockBuffer& operator=(const BlockBuffer&) = delete;

  char* data() { return bytes_.get(); }

 private:
  static constexpr size_t kKept = 2;
  struct Free {
    void operator()(char* bytes) const { std::free(bytes); }
  };
  using Bytes = std::unique_ptr<char, Free>;
  inline static thread_local std::vector<Bytes> kept_;
  Bytes bytes_;
};

/// The bytes of several parts, taken from the front.
class PartsReader {
 public:
  explicit PartsReader(std::span<const std::string_view> parts) : parts_(parts) {
    for (const auto part : parts) left_ += part.size();
  }

  size_t left() const { return left_; }

  /// Copies the next `count` bytes; there must be as many.
  void take(char* into, size_t count) {
    left_ -= count;
    while (count > 0) {
      const auto some = parts_.front().substr(at_, count);
      into += some.copy(into, some.size());
      count -= some.size();
      at_ += some.size();
      if (at_ < parts_.front().size()) continue;
      parts_ = parts_.subspan(1);
      at_ = 0;
    }
  }

 private:
  std::span<const std::string_view> parts_;
  size_t at_ = 0;  // in the first of them
  size_t left_ = 0;
};

}  // namespace millrace::io::detail

#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace millrace {

/// Bytes that are owned: a string, or the part of one in which they came (a request's frame), so
/// that what is to be kept of it need not be copied out. Moving costs what moving a string does.
class OwnedBytes {
 public:
  OwnedBytes() = default;
  OwnedBytes(std::string whole) : whole_(std::move(whole)), size_(whole_.size()) {}  // NOLINT
  /// `size` bytes of `whole` from `from` on, which it holds.
  OwnedBytes(std::string whole, size_t from, size_t size)
      : whole_(std::move(whole)), from_(from), size_(size) {}
  OwnedBytes(OwnedBytes&& other) noexcept
      : whole_(std::exchange(other.whole_, {})),
        from_(std::exchange(other.from_, 0)),
        size_(std::exchange(other.size_, 0)) {}
  OwnedBytes& operator=(OwnedBytes&& other) noexcept {
    whole_ = std::exchange(other.whole_, {});
    from_ = std::exchange(other.from_, 0);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  char* data() { return whole_.data() + from_; }
  size_t size() const { return size_; }
  std::string_view view() const { return std::string_view(whole_).substr(from_, size_); }
  operator std::string_view() const { return view(); }  // NOLINT: bytes are read as a view

  /// The bytes as a string of their own: copied when they are but a part.
  std::string take() && {
    return size_ == whole_.size() ? std::exchange(whole_, {}) : std::string(view());
  }

 private:
  std::string whole_;
  size_t from_ = 0;
  size_t size_ = 0;
};

}  // namespace millrace

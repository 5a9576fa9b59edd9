#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace millrace::log::detail {

/// Big-endian numbers, as Kafka writes them.
template <typename T>
T load_be(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return std::byteswap(value);
}
template <typename T>
void store_be(char* at, T value) {
  value = std::byteswap(value);
  std::memcpy(at, &value, sizeof value);
}
template <typename T>
void append_be(std::string& out, T value) {
  char bytes[sizeof value];
  store_be(bytes, value);
  out.append(bytes, sizeof bytes);
}

inline void append_varint(std::string& out, int64_t value) {
  auto bits = (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
  for (; bits >= 0x80; bits >>= 7) out += static_cast<char>(bits | 0x80);
  out += static_cast<char>(bits);
}

/// Takes fields off the front of bytes from outside. After a failure every further take fails too.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  bool ok() const { return ok_; }
  bool empty() const { return at_ == end_; }
  size_t left() const { return static_cast<size_t>(end_ - at_); }

  int64_t varint() {
    // Lengths and deltas mostly take one byte or two, in large batches three.
    if (left() < 3) return long_varint();
    const auto byte = [this](size_t i) {
      return static_cast<uint64_t>(static_cast<uint8_t>(at_[i]));
    };
    uint64_t bits = byte(0);
    if (bits < 0x80) return ++at_, unzigzag(bits);
    bits = (bits & 0x7f) | byte(1) << 7;
    if (bits < 0x4000) return at_ += 2, unzigzag(bits);
    bits = (bits & 0x3fff) | byte(2) << 14;
    if (bits >= 0x200000) return long_varint();
    at_ += 3;
    return unzigzag(bits);
  }
  template <typename T>
  T big_endian() {
    if (left() < sizeof(T)) return static_cast<T>(fail());
    const T value = load_be<T>(at_);
    at_ += sizeof(T);
    return value;
  }
  std::string_view bytes(int64_t length) {
    if (length < 0 || static_cast<uint64_t>(length) > left()) return fail(), std::string_view();
    const std::string_view taken(at_, static_cast<size_t>(length));
    at_ += length;
    return taken;
  }
  /// A length, then so many bytes; -1 is null.
  std::optional<std::string_view> nullable_bytes() {
    const int64_t length = varint();
    if (length == -1) return std::nullopt;
    return bytes(length);
  }

 private:
  static int64_t unzigzag(uint64_t bits) {
    return static_cast<int64_t>(bits >> 1) ^ -static_cast<int64_t>(bits & 1);
  }
  [[gnu::noinline]] int64_t long_varint() {
    uint64_t bits = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (at_ == end_) return fail();
      const auto byte = static_cast<uint8_t>(*at_++);
      bits |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (!(byte & 0x80)) return unzigzag(bits);
    }
    return fail();
  }
  int64_t fail() {
    ok_ = false;
    at_ = end_;
    return 0;
  }

  const char* at_;
  const char* end_;
  bool ok_ = true;
};

}  // namespace millrace::log::detail

#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/result.h"

namespace millrace::pgwire::detail {

/// Big-endian integers to the end of `out`.
template <typename T>
void put(std::string& out, T value) {
  for (int shift = static_cast<int>(sizeof(T)) * 8 - 8; shift >= 0; shift -= 8) {
    out += static_cast<char>(static_cast<uint64_t>(value) >> shift & 0xff);
  }
}
/// The same over bytes that stand already.
template <typename T>
void put_at(std::string& out, size_t at, T value) {
  for (size_t i = 0; i < sizeof(T); i++) {
    out[at + i] =
        static_cast<char>(static_cast<uint64_t>(value) >> (8 * (sizeof(T) - 1 - i)) & 0xff);
  }
}
/// Text with its terminating zero; a zero inside would cut the message, so it ends the text.
void put_text(std::string& out, std::string_view text);

/// One message under construction at the end of `out`: type, length (filled in at the end), body.
class Message {
 public:
  Message(std::string& out, char type) : out_(out) {
    out_ += type;
    start_ = out_.size();
    out_.append(4, '\0');
  }
  ~Message() { put_at<int32_t>(out_, start_, static_cast<int32_t>(out_.size() - start_)); }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;

 private:
  std::string& out_;
  size_t start_;
};

/// Reads a message's body. Past the end every answer is empty and ok() is false, to be asked once.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  template <typename T>
  T integer() {
    if (!has(sizeof(T))) return 0;
    uint64_t value = 0;
    for (size_t i = 0; i < sizeof(T); i++) value = value << 8 | static_cast<uint8_t>(rest_[i]);
    rest_.remove_prefix(sizeof(T));
    return static_cast<T>(value);
  }
  uint8_t byte() { return integer<uint8_t>(); }
  /// Up to its zero.
  std::string_view text();
  std::string_view bytes(size_t count);
  std::string_view rest() { return std::exchange(rest_, {}); }
  bool ok() const { return ok_; }
  /// ok, and nothing is left.
  bool done() const { return ok_ && rest_.empty(); }
  size_t left() const { return rest_.size(); }

 private:
  bool has(size_t count) {
    if (ok_ && rest_.size() >= count) return true;
    ok_ = false;
    rest_ = {};
    return false;
  }
  std::string_view rest_;
  bool ok_ = true;
};

/// A message of the largest size that we take; PostgreSQL's own limit is 1 GiB.
inline constexpr size_t kMessageBytesMax = 64u << 20;
inline constexpr size_t kStartupBytesMax = 10'000;

/// Cuts the client's bytes into messages.
class Frames {
 public:
  struct Frame {
    char type = 0;          // 0: of the startup phase
    std::string_view body;  // valid until the next call
  };
  void feed(std::string_view bytes);
  /// The next whole message, or nothing while it is incomplete. Errors: kProtocol (a length out of
  /// bounds, a type that no client sends); nothing can be read after.
  Result<std::optional<Frame>> next(bool startup);
  /// Bytes that have come and were not given out.
  size_t buffered() const { return buffer_.size() - at_; }

 private:
  std::string buffer_;
  size_t at_ = 0;
};

/// "ErrorResponse" (E) or "NoticeResponse" (N).
struct Report {
  std::string_view severity;  // ERROR, FATAL, WARNING
  std::string_view sqlstate;
  std::string_view text;
  std::string_view hint = {};
  std::optional<size_t> position = std::nullopt;  // 1-based, in characters
};
void put_report(std::string& out, char type, const Report& report);

}  // namespace millrace::pgwire::detail

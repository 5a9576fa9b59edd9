#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace::flow {

/// State as bytes: numbers as they lie in memory (little-endian), byte strings behind their length.
/// Hands its bytes on in blocks of about 1 MiB; no value stands across two blocks.
class StateWriter {
 public:
  using Sink = std::function<void(std::string block)>;
  explicit StateWriter(Sink sink) : sink_(std::move(sink)) {}

  /// What follows is the state of `what`, laid out as `version` says. Whoever loads it asks for the
  /// same; another answer fails.
  void begin(std::string_view what, uint32_t version) {
    bytes(what);
    number(version);
  }
  template <typename T>
    requires std::integral<T> || std::floating_point<T>
  void number(T value) {
    raw(&value, sizeof(value));
  }
  void bytes(std::string_view value) {
    number(static_cast<uint64_t>(value.size()));
    raw(value.data(), value.size());
  }
  /// Without a length: the reader knows it.
  void raw(const void* from, size_t size) {
    block_.append(static_cast<const char*>(from), size);
    written_ += size;
    if (block_.size() >= kBlockBytes) flush();
  }
  /// Hands on what is left.
  void finish() {
    if (!block_.empty()) flush();
  }
  uint64_t written() const { return written_; }

 private:
  static constexpr size_t kBlockBytes = 1 << 20;
  void flush() {
    sink_(std::move(block_));
    block_ = {};
    block_.reserve(kBlockBytes + kBlockBytes / 8);
  }

  Sink sink_;
  std::string block_;
  uint64_t written_ = 0;
};

/// Reads what a StateWriter wrote. What does not fit makes it fail for good: from then on it gives
/// zeros and empty strings, so that a loader looks at ok() in its loops and at result() in the end.
class StateReader {
 public:
  /// The next block; an empty one at the end.
  using Blocks = std::function<Result<std::string>()>;
  explicit StateReader(Blocks blocks) : blocks_(std::move(blocks)) {}

  /// False, and failed, when something else or another version stands here.
  bool begin(std::string_view what, uint32_t version);
  template <typename T>
    requires std::integral<T> || std::floating_point<T>
  T number() {
    T value{};
    if (const char* from = take(sizeof(T))) std::memcpy(&value, from, sizeof(T));
    return value;
  }
  /// Valid until the next call.
  std::string_view bytes() {
    const auto size = number<uint64_t>();
    const char* from = take(size);
    return from ? std::string_view(from, size) : std::string_view();
  }
  void raw(void* to, size_t size) {
    if (const char* from = take(size)) std::memcpy(to, from, size);
  }
  bool ok() const { return !error_; }
  /// Gives the first failure that a loader finds in what it reads.
  void fail(std::string why);
  Result<> result() const;

 private:
  const char* take(uint64_t size);

  Blocks blocks_;
  std::string block_;
  size_t at_ = 0;
  std::optional<Error> error_;
};

}  // namespace millrace::flow

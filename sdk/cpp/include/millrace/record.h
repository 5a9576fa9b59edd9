#pragma once
// What a transform sees and makes. Nothing here copies a record's bytes: a view is of the batch
// that the host wrote, and lives until the call returns.
#include <concepts>
#include <optional>
#include <string>

#include "millrace/abi.h"

namespace millrace {

/// Text that grows in the arena; what view() gives may be put into results.
class Text {
 public:
  Text& operator<<(std::string_view more) {
    if (size_ + more.size() > room_) {
      room_ = (size_ + more.size()) * 2 + 64;
      char* at = abi::take(room_);
      if (size_ != 0) std::memcpy(at, at_, size_);
      at_ = at;
    }
    if (!more.empty()) std::memcpy(at_ + size_, more.data(), more.size());
    size_ += more.size();
    return *this;
  }
  Text& operator<<(const char* more) { return *this << std::string_view(more); }
  Text& operator<<(char more) { return *this << std::string_view(&more, 1); }
  template <std::integral T>
  Text& operator<<(T number) {
    char digits[20];
    char* at = digits + sizeof(digits);
    uint64_t left = number < 0 ? 0 - static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
    do *--at = static_cast<char>('0' + left % 10);
    while ((left /= 10) != 0);
    if (number < 0) *--at = '-';
    return *this << std::string_view(at, static_cast<size_t>(digits + sizeof(digits) - at));
  }
  std::string_view view() const { return {at_, size_}; }

 private:
  char* at_ = nullptr;
  size_t size_ = 0, room_ = 0;
};

/// Why a record cannot be transformed: `return failure("no rate for '", currency, "'")`.
struct Failure {
  std::string_view message;
};
template <typename... Pieces>
Failure failure(const Pieces&... pieces) {
  Text text;
  (text << ... << pieces);
  return {text.view()};
}

/// A T, or the reason why there is none.
template <typename T>
class Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Failure why) : message_(why.message) {}
  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }
  const T& operator*() const { return *value_; }
  const T* operator->() const { return &*value_; }
  Failure why() const { return {message_}; }

 private:
  std::optional<T> value_;
  std::string_view message_;
};

/// Done, `{}`, or why not.
class Status {
 public:
  Status() = default;
  Status(Failure why) : failed_(true), message_(why.message) {}
  bool ok() const { return !failed_; }
  explicit operator bool() const { return ok(); }
  Failure why() const { return {message_}; }

 private:
  bool failed_ = false;
  std::string_view message_;
};

namespace detail {
inline std::string_view view(const char* at, int32_t size) {
  return size > 0 ? std::string_view(at, static_cast<size_t>(size)) : std::string_view();
}
}  // namespace detail

/// One record of the batch.
class Record {
 public:
  explicit Record(const abi::Record& record) : record_(record) {}
  int64_t timestamp() const { return record_.timestamp; }  // milliseconds
  int64_t offset() const { return record_.offset; }        // -1: none yet
  bool has_key() const { return record_.key_size >= 0; }
  bool has_value() const { return record_.value_size >= 0; }
  std::string_view key() const { return detail::view(record_.key, record_.key_size); }
  std::string_view value() const { return detail::view(record_.value, record_.value_size); }
  uint32_t header_count() const { return record_.header_count; }
  std::string_view header_name(uint32_t i) const {
    return {record_.headers[i].name, record_.headers[i].name_size};
  }
  std::string_view header_value(uint32_t i) const {
    return detail::view(record_.headers[i].value, record_.headers[i].value_size);
  }
  /// The first header of that name.
  std::optional<std::string_view> header(std::string_view name) const {
    for (uint32_t i = 0; i < record_.header_count; ++i) {
      if (header_name(i) == name) return header_value(i);
    }
    return std::nullopt;
  }
  const abi::Record& raw() const { return record_; }

 private:
  const abi::Record& record_;
};

/// A record of the result: begins as the one it comes from. A string_view is taken as it is, so it
/// must be of the batch, of a Text or constant; a std::string is copied.
class Output {
 public:
  explicit Output(abi::Record& record) : record_(record) {}
  void set_timestamp(int64_t milliseconds) { record_.timestamp = milliseconds; }
  void set_key(std::string_view key) { set(record_.key, record_.key_size, key); }
  void set_key(const std::string& key) { set_key(kept(key)); }
  void set_key(const char* key) { set_key(std::string_view(key)); }
  void set_key(const Text& key) { set_key(key.view()); }
  void clear_key() { record_.key_size = -1; }
  void set_value(std::string_view value) { set(record_.value, record_.value_size, value); }
  void set_value(const std::string& value) { set_value(kept(value)); }
  void set_value(const char* value) { set_value(std::string_view(value)); }
  void set_value(const Text& value) { set_value(value.view()); }
  void clear_value() { record_.value_size = -1; }
  void clear_headers() { record_.header_count = 0; }
  void add_header(std::string_view name, std::string_view value) {
    auto* headers = abi::take_array<abi::Header>(record_.header_count + 1);
    for (uint32_t i = 0; i < record_.header_count; ++i) headers[i] = record_.headers[i];
    headers[record_.header_count++] = {name.data(), static_cast<uint32_t>(name.size()),
                                       value.data(), static_cast<int32_t>(value.size())};
    record_.headers = headers;
  }

 private:
  static void set(const char*& at, int32_t& size, std::string_view text) {
    at = text.data();
    size = static_cast<int32_t>(text.size());
  }
  static std::string_view kept(const std::string& text) { return (Text() << text).view(); }
  abi::Record& record_;
};

/// What the SQL that uses a transform gave it, by name. The views live as long as the module.
class Parameters {
 public:
  Parameters(const abi::Header* given, uint32_t count, bool* asked)
      : given_(given), count_(count), asked_(asked) {}
  std::optional<std::string_view> get(std::string_view name) const {
    for (uint32_t i = 0; i < count_; ++i) {
      if (std::string_view(given_[i].name, given_[i].name_size) != name) continue;
      asked_[i] = true;
      return detail::view(given_[i].value, given_[i].value_size);
    }
    return std::nullopt;
  }
  std::string_view get(std::string_view name, std::string_view otherwise) const {
    return get(name).value_or(otherwise);
  }
  Result<std::string_view> require(std::string_view name) const {
    const auto value = get(name);
    if (!value) return failure("parameter '", name, "' is missing");
    return *value;
  }

 private:
  const abi::Header* given_;
  uint32_t count_;
  bool* asked_;  // a parameter that nobody asked for is a mistake
};

/// What an aggregate knows of a key: bytes of its own making, kept by the host with the outputs,
/// exactly once.
class State {
 public:
  explicit State(abi::State& state) : state_(state) {}
  bool exists() const { return state_.value_size >= 0; }
  std::string_view value() const { return detail::view(state_.value, state_.value_size); }
  /// The bytes must live as those of an Output.
  void set(std::string_view value) {
    state_.value = value.data();
    state_.value_size = static_cast<int32_t>(value.size());
  }
  void set(const Text& value) { set(value.view()); }
  void clear() { state_.value_size = -1; }

 private:
  abi::State& state_;
};

inline void log_debug(std::string_view text) { abi::log(0, text); }
inline void log_info(std::string_view text) { abi::log(1, text); }
inline void log_warning(std::string_view text) { abi::log(2, text); }
inline void log_error(std::string_view text) { abi::log(3, text); }

}  // namespace millrace

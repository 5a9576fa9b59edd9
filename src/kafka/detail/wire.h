#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/io/socket.h"
#include "base/result.h"

namespace millrace::kafka {

/// One API as ApiVersions tells it; a row of the generated table kApis.
struct ApiInfo {
  int16_t key;
  std::string_view name;
  int16_t version_min;
  int16_t version_max;
  int16_t flexible_min;  // the first version with compact lengths and tagged fields
};

/// Record batches inside a message. Decoding gives a view into the frame, which must outlive the
/// message; a message that we make owns its bytes, or names a range of a file.
struct Records {
  std::string_view view;
  std::string owned;
  io::FileRange file = {};

  Records() = default;
  explicit Records(std::string bytes) : owned(std::move(bytes)) {}
  std::string_view bytes() const { return owned.empty() ? view : std::string_view(owned); }
  size_t size() const { return file.file ? file.length : bytes().size(); }
  bool operator==(const Records& other) const { return bytes() == other.bytes(); }
};

/// Reads the fields of one message from bytes of unknown honesty. The first fault sticks: from then
/// on every read gives zero or nothing and takes no time, so that the generated code need not look.
/// Memory stays within a small multiple of the bytes: a length or count that the rest of the bytes
/// cannot hold is a fault, and so are more than kElementsMax array elements.
class Reader {
 public:
  static constexpr size_t kElementsMax = 1 << 18;

  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  bool ok() const { return fault_ == nullptr; }
  /// Errors: kProtocol, with what was wrong and where; only when !ok().
  Error error() const;
  std::string_view rest() const { return bytes_.substr(at_); }

  bool boolean() { return int8() != 0; }
  int8_t int8() { return integer<int8_t>(); }
  int16_t int16() { return integer<int16_t>(); }
  int32_t int32() { return integer<int32_t>(); }
  int64_t int64() { return integer<int64_t>(); }
  uint16_t uint16() { return integer<uint16_t>(); }
  double float64() { return std::bit_cast<double>(integer<int64_t>()); }
  uint32_t varint();
  Uuid uuid();

  void string(std::string& to, bool compact);
  void string(std::optional<std::string>& to, bool compact, bool null_allowed);
  void bytes(std::string& to, bool compact);
  void records(Records& to, bool compact);
  void records(std::optional<Records>& to, bool compact, bool null_allowed);
  /// The count of an array whose elements take at least `element_bytes`; nullopt for null and after
  /// a fault.
  std::optional<size_t> array(bool compact, bool null_allowed, size_t element_bytes);
  /// Whether a nullable struct is there.
  bool present() { return int8() >= 0; }

  /// A tagged field: between open and close, reads see its bytes alone.
  struct Tag {
    uint32_t id = 0;
    size_t end = 0;              // where the field ends
    size_t outside = 0;          // bytes that the reader saw before
    const char* base = nullptr;  // of the bytes that the reader saw before
  };
  uint32_t tag_count();
  Tag open_tag();
  void close_tag(const Tag& tag);
  void skip_tags();

 private:
  template <typename T>
  T integer();
  /// Length of a string or of bytes; nullopt for null and after a fault.
  std::optional<size_t> length(bool compact, bool wide, bool null_allowed);
  std::string_view take(size_t count);
  void fail(const char* what);

  std::string_view bytes_;
  size_t at_ = 0;
  size_t elements_left_ = kElementsMax;
  const char* fault_ = nullptr;
};

/// Bytes to send: what was written, with large record batches beside it, so that they are not
/// copied.
class Encoded {
 public:
  size_t total_bytes() const { return total_; }
  /// Of those, the bytes that are held in memory; the others are in files.
  size_t memory_bytes() const { return memory_; }
  /// The pieces in order; they live as long as this is neither moved nor changed.
  std::vector<io::Piece> pieces() const;
  /// All bytes; nothing of it may be in a file.
  std::string to_string() const;

 private:
  friend class Writer;
  struct Aside {
    size_t at;  // stands before this byte of small_
    std::string bytes;
    io::FileRange file;  // when set, instead of `bytes`
  };
  std::string small_;
  std::vector<Aside> aside_;
  size_t total_ = 0;
  size_t memory_ = 0;
};

/// Writes the fields of one message. A value that the version cannot say is a fault, which sticks;
/// finish() tells.
class Writer {
 public:
  /// Record batches from this size on are taken out of the message, not copied.
  static constexpr size_t kAsideBytes = 4096;

  void boolean(bool v) { int8(v ? 1 : 0); }
  void int8(int8_t v) { out_.small_.push_back(static_cast<char>(v)); }
  void int16(int16_t v) { integer(v); }
  void int32(int32_t v) { integer(v); }
  void int64(int64_t v) { integer(v); }
  void uint16(uint16_t v) { integer(v); }
  void float64(double v) { integer(std::bit_cast<int64_t>(v)); }
  void varint(uint32_t v);
  void uuid(const Uuid& v);

  void string(std::string_view v, bool compact);
  void string(const std::optional<std::string>& v, bool compact, bool null_allowed,
              const char* field);
  void bytes(std::string_view v, bool compact);
  /// Takes the owned bytes of `v` when they are many.
  void records(Records& v, bool compact);
  void records(std::optional<Records>& v, bool compact, bool null_allowed, const char* field);
  void array(size_t count, bool compact);
  /// Writes the count, or null; whether elements follow.
  template <typename T>
  bool optional_array(const std::optional<std::vector<T>>& v, bool compact, bool null_allowed,
                      const char* field) {
    if (v) return array(v->size(), compact), true;
    null_length(compact, true, null_allowed, field);
    return false;
  }

  /// A tagged field: open, write its value, close.
  size_t open_tag(uint32_t id);
  void close_tag(size_t mark);

  /// `field` has a value that `version` has no place for (negative: a null that is not allowed).
  void fail(const char* field, int16_t version);

  /// What was written. With `framed`, a 4-byte length stands before it. Errors: kInternal naming
  /// the field.
  Result<Encoded> finish(bool framed);

 private:
  template <typename T>
  void integer(T v);
  void null_length(bool compact, bool wide, bool null_allowed, const char* field);

  Encoded out_;
  std::optional<std::string> fault_;
};

}  // namespace millrace::kafka

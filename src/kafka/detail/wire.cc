#include "kafka/detail/wire.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "base/check.h"

namespace millrace::kafka {

namespace {

template <typename T>
T swapped(T v) {
  if constexpr (sizeof(T) == 1) {
    return v;
  } else {
    return std::byteswap(v);
  }
}

}  // namespace

// ---- Reader

Error Reader::error() const {
  return {ErrorCode::kProtocol,
          fmt::format("{} at byte {} of {}", ok() ? "no fault" : fault_, at_, bytes_.size())};
}

void Reader::fail(const char* what) {
  if (fault_ == nullptr) fault_ = what;
}

std::string_view Reader::take(size_t count) {
  if (!ok()) return {};
  if (count > bytes_.size() - at_) {
    fail("the message ends inside a field");
    return {};
  }
  auto taken = bytes_.substr(at_, count);
  at_ += count;
  return taken;
}

template <typename T>
T Reader::integer() {
  auto taken = take(sizeof(T));
  if (taken.size() != sizeof(T)) return 0;
  T v;
  std::memcpy(&v, taken.data(), sizeof(T));
  return swapped(v);
}
template int8_t Reader::integer();
template int16_t Reader::integer();
template uint16_t Reader::integer();
template int32_t Reader::integer();
template int64_t Reader::integer();

uint32_t Reader::varint() {
  uint32_t v = 0;
  for (int shift = 0; shift < 35; shift += 7) {
    const auto byte = static_cast<uint8_t>(int8());
    if (shift == 28 && byte > 0x0f) break;
    v |= static_cast<uint32_t>(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return ok() ? v : 0;
  }
  fail("a varint is longer than 32 bits");
  return 0;
}

Uuid Reader::uuid() {
  Uuid v;
  auto taken = take(v.bytes.size());
  if (taken.size() == v.bytes.size()) std::memcpy(v.bytes.data(), taken.data(), taken.size());
  return v;
}

std::optional<size_t> Reader::length(bool compact, bool wide, bool null_allowed) {
  // Compact lengths are one more than the length, and 0 is null.
  const int64_t n = compact ? static_cast<int64_t>(varint()) - 1 : wide ? int32() : int16();
  if (!ok()) return std::nullopt;
  if (n == -1 && null_allowed) return std::nullopt;
  if (n < 0) {
    fail(n == -1 ? "null where a value must be" : "a negative length");
    return std::nullopt;
  }
  if (static_cast<uint64_t>(n) > bytes_.size() - at_) {
    fail("a length is longer than the message");
    return std::nullopt;
  }
  return static_cast<size_t>(n);
}

void Reader::string(std::string& to, bool compact) {
  auto n = length(compact, false, false);
  to = n ? take(*n) : std::string_view();
}

void Reader::string(std::optional<std::string>& to, bool compact, bool null_allowed) {
  auto n = length(compact, false, null_allowed);
  to = n ? std::optional<std::string>(take(*n)) : std::nullopt;
}

void Reader::bytes(std::string& to, bool compact) {
  auto n = length(compact, true, false);
  to = n ? take(*n) : std::string_view();
}

void Reader::records(Records& to, bool compact) {
  auto n = length(compact, true, false);
  to = {};
  if (n) to.view = take(*n);
}

void Reader::records(std::optional<Records>& to, bool compact, bool null_allowed) {
  auto n = length(compact, true, null_allowed);
  to.reset();
  if (n) to.emplace().view = take(*n);
}

std::optional<size_t> Reader::array(bool compact, bool null_allowed, size_t element_bytes) {
  auto n = length(compact, true, null_allowed);
  if (!n) return std::nullopt;
  if (*n > (bytes_.size() - at_) / element_bytes) {
    fail("an array's count is larger than the message");
    return std::nullopt;
  }
  if (*n > elements_left_) {
    fail("the message has too many array elements");
    return std::nullopt;
  }
  elements_left_ -= *n;
  return n;
}

uint32_t Reader::tag_count() {
  const uint32_t n = varint();
  if (ok() && n > (bytes_.size() - at_) / 2) fail("a count of tagged fields is too large");
  return ok() ? n : 0;
}

Reader::Tag Reader::open_tag() {
  Tag tag;
  tag.id = varint();
  const uint32_t size = varint();
  if (ok() && size > bytes_.size() - at_) fail("a tagged field is longer than the message");
  tag.base = bytes_.data();
  tag.outside = bytes_.size();
  tag.end = ok() ? at_ + size : at_;
  bytes_ = bytes_.substr(0, tag.end);
  return tag;
}

void Reader::close_tag(const Tag& tag) {
  bytes_ = std::string_view(tag.base, tag.outside);
  if (ok()) at_ = tag.end;
}

void Reader::skip_tags() {
  for (uint32_t left = tag_count(); left > 0 && ok(); --left) close_tag(open_tag());
}

// ---- Encoded

std::vector<io::Piece> Encoded::pieces() const {
  std::vector<io::Piece> pieces;
  pieces.reserve(2 * aside_.size() + 1);
  size_t at = 0;
  for (const auto& aside : aside_) {
    pieces.push_back({std::string_view(small_).substr(at, aside.at - at), {}});
    pieces.push_back({aside.bytes, aside.file});
    at = aside.at;
  }
  if (at < small_.size()) pieces.push_back({std::string_view(small_).substr(at), {}});
  return pieces;
}

std::string Encoded::to_string() const {
  std::string all;
  all.reserve(total_);
  for (const auto& piece : pieces()) {
    MR_CHECK(!piece.file.file);
    all += piece.bytes;
  }
  return all;
}

// ---- Writer

template <typename T>
void Writer::integer(T v) {
  v = swapped(v);
  out_.small_.append(reinterpret_cast<const char*>(&v), sizeof(v));
}
template void Writer::integer(int16_t);
template void Writer::integer(uint16_t);
template void Writer::integer(int32_t);
template void Writer::integer(int64_t);

void Writer::varint(uint32_t v) {
  while (v >= 0x80) {
    int8(static_cast<int8_t>(v | 0x80));
    v >>= 7;
  }
  int8(static_cast<int8_t>(v));
}

void Writer::uuid(const Uuid& v) {
  out_.small_.append(reinterpret_cast<const char*>(v.bytes.data()), v.bytes.size());
}

void Writer::string(std::string_view v, bool compact) {
  if (!compact && v.size() > INT16_MAX) v = v.substr(0, INT16_MAX);
  if (compact) {
    varint(static_cast<uint32_t>(v.size()) + 1);
  } else {
    int16(static_cast<int16_t>(v.size()));
  }
  out_.small_ += v;
}

void Writer::string(const std::optional<std::string>& v, bool compact, bool null_allowed,
                    const char* field) {
  if (v) return string(*v, compact);
  null_length(compact, false, null_allowed, field);
}

void Writer::bytes(std::string_view v, bool compact) {
  array(v.size(), compact);
  out_.small_ += v;
}

void Writer::records(Records& v, bool compact) {
  array(v.size(), compact);
  if (v.file.file) {
    out_.total_ += v.file.length;
    out_.aside_.push_back({out_.small_.size(), {}, std::move(v.file)});
  } else if (v.owned.size() >= kAsideBytes) {
    out_.total_ += v.owned.size();
    out_.memory_ += v.owned.size();
    out_.aside_.push_back({out_.small_.size(), std::move(v.owned), {}});
  } else {
    out_.small_ += v.bytes();
  }
}

void Writer::records(std::optional<Records>& v, bool compact, bool null_allowed,
                     const char* field) {
  if (v) return records(*v, compact);
  null_length(compact, true, null_allowed, field);
}

void Writer::array(size_t count, bool compact) {
  if (compact) {
    varint(static_cast<uint32_t>(count) + 1);
  } else {
    int32(static_cast<int32_t>(count));
  }
}

void Writer::null_length(bool compact, bool wide, bool null_allowed, const char* field) {
  if (!null_allowed) fail(field, -1);
  if (compact) {
    varint(0);
  } else if (wide) {
    int32(-1);
  } else {
    int16(-1);
  }
}

size_t Writer::open_tag(uint32_t id) {
  varint(id);
  return out_.small_.size();
}

void Writer::close_tag(size_t mark) {
  // The size comes before the value and is known only now; tagged values are small.
  std::string value = out_.small_.substr(mark);
  out_.small_.resize(mark);
  varint(static_cast<uint32_t>(value.size()));
  out_.small_ += value;
}

void Writer::fail(const char* field, int16_t version) {
  if (fault_) return;
  fault_ = version < 0 ? fmt::format("{} must not be null in this version", field)
                       : fmt::format("version {} has no place for {}", version, field);
}

Result<Encoded> Writer::finish(bool framed) {
  if (fault_) return Error{ErrorCode::kInternal, *fault_};
  out_.total_ += out_.small_.size();
  if (framed) {
    const auto length = swapped(static_cast<int32_t>(out_.total_));
    out_.small_.insert(0, reinterpret_cast<const char*>(&length), sizeof(length));
    for (auto& aside : out_.aside_) aside.at += sizeof(length);
    out_.total_ += sizeof(length);
  }
  out_.memory_ += out_.small_.size();
  return std::move(out_);
}

}  // namespace millrace::kafka

#pragma once
// JSON as records hold it, read where it stands: nothing is built, and what is found are views of
// the text.
#include "millrace/record.h"

namespace millrace::json {

enum class Kind : uint8_t { kObject, kArray, kString, kNumber, kBoolean, kNull };

/// The text that a string's raw content (between its quotes) stands for. Only one with escapes is
/// copied, to the arena.
inline std::string_view decode(std::string_view raw) {
  if (raw.find('\\') == std::string_view::npos) return raw;
  char* const text = abi::take(raw.size());  // an escape is never shorter than what it stands for
  char* out = text;
  const auto hex4 = [&](size_t at) {
    uint32_t code = 0;
    for (size_t i = at; i < at + 4; ++i) {
      const char c = raw[i];
      code = code * 16 + static_cast<uint32_t>(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    return code;
  };
  for (size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '\\') {
      *out++ = raw[i];
      continue;
    }
    const char c = raw[++i];
    if (c != 'u') {
      constexpr std::string_view from = "bfnrt", to = "\b\f\n\r\t";
      const size_t at = from.find(c);
      *out++ = at == std::string_view::npos ? c : to[at];
      continue;
    }
    uint32_t code = hex4(i + 1);
    i += 4;
    if (code >= 0xD800 && code < 0xDC00 && raw.substr(i + 1, 2) == "\\u") {
      const uint32_t low = hex4(i + 3);
      if (low >= 0xDC00 && low < 0xE000) {
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        i += 6;
      }
    }
    if (code >= 0xD800 && code < 0xE000) code = 0xFFFD;  // half of a pair stands for nothing
    if (code < 0x80) {
      *out++ = static_cast<char>(code);
      continue;
    }
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    *out++ = static_cast<char>((0xFF00 >> (more + 1) & 0xFF) | code >> 6 * more);
    for (int k = more - 1; k >= 0; --k) *out++ = static_cast<char>(0x80 | (code >> 6 * k & 0x3F));
  }
  return {text, static_cast<size_t>(out - text)};
}

/// Walks an object's values in the order of the text, those within values too, and checks the whole
/// of it as it goes:
///
///     json::Walker walker(record.value());
///     while (walker.next()) if (walker.depth() == 1 && walker.named("level")) level =
///     walker.take(); if (walker.failed()) return walker.why();
class Walker {
 public:
  explicit Walker(std::string_view text) : text_(text) {}

  /// To the next value; false at the end, or where the text is no JSON object.
  bool next() {
    Step step;
    do step = advance();
    while (step == Step::kOther);
    return step == Step::kValue;
  }
  bool failed() const { return failed_; }
  Failure why() const { return failure("not a JSON object: byte ", at_); }

  /// 1: a member of the document itself.
  int depth() const { return value_depth_; }
  Kind kind() const { return kind_; }
  /// Where the value begins in the text.
  size_t start() const { return start_; }
  /// Of a member its name, as it stands between its quotes.
  std::string_view name() const { return name_; }
  /// Whether it is a member of that name.
  bool named(std::string_view name) const {
    return member_ && (name_ == name || (name_.find('\\') != name_.npos && decode(name_) == name));
  }
  /// The value's text. Of an object or array the walk goes on behind it, not into it.
  std::string_view take() {
    if (kind_ > Kind::kArray || taken_) return text_.substr(start_, end_ - start_);
    const Walker before = *this;
    while (depth_ > before.value_depth_ && advance() != Step::kEnd) {
    }
    start_ = before.start_;
    value_depth_ = before.value_depth_;
    kind_ = before.kind_;
    name_ = before.name_;
    member_ = before.member_;
    taken_ = true;
    end_ = at_;
    return text_.substr(start_, end_ - start_);
  }

 private:
  enum class Step { kValue, kOther, kEnd };
  static constexpr int kDepth = 64;

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
  }
  Step fail() {
    failed_ = true;
    return Step::kEnd;
  }
  void open(bool object) {
    stack_ = stack_ << 1 | (object ? 1 : 0);
    ++depth_;
    ++at_;
    fresh_ = true;
  }

  Step advance() {
    if (failed_) return Step::kEnd;
    space();
    if (depth_ == 0) {
      if (begun_) return at_ == text_.size() ? Step::kEnd : fail();
      begun_ = true;
      if (peek() != '{') return fail();
      open(true);
      return Step::kOther;
    }
    const bool object = (stack_ & 1) != 0;
    if (peek() == (object ? '}' : ']')) {
      stack_ >>= 1;
      --depth_;
      ++at_;
      fresh_ = false;
      return Step::kOther;
    }
    if (!fresh_) {
      if (peek() != ',') return fail();
      ++at_;
      space();
    }
    fresh_ = false;
    member_ = object;
    if (object && !member_name()) return fail();
    start_ = at_;
    taken_ = false;
    value_depth_ = depth_;
    return value() ? Step::kValue : fail();
  }

  bool member_name() {
    const size_t from = at_ + 1;
    if (peek() != '"' || !string()) return false;
    name_ = text_.substr(from, at_ - 1 - from);
    space();
    if (peek() != ':') return false;
    ++at_;
    space();
    return true;
  }

  bool value() {
    const char c = peek();
    bool good;
    if (c == '{' || c == '[') {
      kind_ = c == '{' ? Kind::kObject : Kind::kArray;
      if (depth_ == kDepth) return false;
      open(c == '{');
      return true;
    }
    if (c == '"') {
      kind_ = Kind::kString;
      good = string();
    } else if (c == 't' || c == 'f') {
      kind_ = Kind::kBoolean;
      good = word(c == 't' ? "true" : "false");
    } else if (c == 'n') {
      kind_ = Kind::kNull;
      good = word("null");
    } else {
      kind_ = Kind::kNumber;
      good = number();
    }
    end_ = at_;
    return good;
  }

  bool word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  bool string() {
    for (++at_; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return true;
      }
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c != '\\') continue;
      ++at_;
      if (peek() == 'u') {
        for (int i = 0; i < 4; ++i) {
          ++at_;
          const char h = peek();
          if (!(h >= '0' && h <= '9') && !((h | 32) >= 'a' && (h | 32) <= 'f')) return false;
        }
      } else if (peek() == '\0' ||
                 std::string_view("\"\\/bfnrt").find(peek()) == std::string_view::npos) {
        return false;
      }
    }
    return false;
  }

  bool digits() {
    const size_t from = at_;
    while (peek() >= '0' && peek() <= '9') ++at_;
    return at_ > from;
  }
  bool number() {
    if (peek() == '-') ++at_;
    if (peek() == '0') {
      ++at_;
    } else if (!digits()) {
      return false;
    }
    if (peek() == '.') {
      ++at_;
      if (!digits()) return false;
    }
    if ((peek() | 32) == 'e') {
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      if (!digits()) return false;
    }
    return true;
  }

  std::string_view text_, name_;
  size_t at_ = 0, start_ = 0, end_ = 0;
  uint64_t stack_ = 0;  // of the open objects (1) and arrays (0)
  int depth_ = 0, value_depth_ = 0;
  Kind kind_ = Kind::kNull;
  bool begun_ = false, fresh_ = false, member_ = false, taken_ = false, failed_ = false;
};

/// What a value's text stands for: a string's content; else the text itself.
inline std::string_view text(std::string_view value) {
  return value.starts_with('"') ? decode(value.substr(1, value.size() - 2)) : value;
}

/// A member of the document; of two with the same name the last. Null when there is none.
inline Result<std::optional<std::string_view>> find(std::string_view document,
                                                    std::string_view name) {
  Walker walker(document);
  std::optional<std::string_view> found;
  while (walker.next()) {
    const bool wanted = walker.depth() == 1 && walker.named(name);
    if (wanted) found = walker.take();
  }
  if (walker.failed()) return walker.why();
  return found;
}

/// Appends `text` as a JSON string.
inline void quote(Text& out, std::string_view text) {
  out << '"';
  size_t from = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c != '"' && c != '\\' && static_cast<unsigned char>(c) >= 0x20) continue;
    out << text.substr(from, i - from);
    from = i + 1;
    if (c == '"' || c == '\\') {
      out << '\\' << c;
    } else if (c == '\n') {
      out << "\\n";
    } else {
      out << "\\u00" << "0123456789abcdef"[c >> 4] << "0123456789abcdef"[c & 15];
    }
  }
  out << text.substr(from) << '"';
}

/// The number that a text is, as JSON writes numbers; nothing when it is none. Exact up to 15
/// digits.
inline std::optional<double> number(std::string_view text) {
  size_t at = 0;
  const auto digit = [&] { return at < text.size() && text[at] >= '0' && text[at] <= '9'; };
  const bool negative = at < text.size() && text[at] == '-';
  if (negative) ++at;
  uint64_t mantissa = 0;
  int64_t exponent = 0;
  bool any = false;
  for (bool fraction = false;; fraction = true) {
    for (; digit(); ++at) {
      any = true;
      if (mantissa < 100'000'000'000'000'000) {
        mantissa = mantissa * 10 + static_cast<uint64_t>(text[at] - '0');
        exponent -= fraction ? 1 : 0;
      } else {
        exponent += fraction ? 0 : 1;
      }
    }
    if (fraction || at >= text.size() || text[at] != '.') break;
    ++at;
    if (!any || !digit()) return std::nullopt;
  }
  if (!any) return std::nullopt;
  if (at < text.size() && (text[at] | 32) == 'e') {
    ++at;
    const bool down = at < text.size() && text[at] == '-';
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
    if (!digit()) return std::nullopt;
    int64_t power = 0;
    for (; digit(); ++at) {
      if (power < 10'000) power = power * 10 + (text[at] - '0');
    }
    exponent += down ? -power : power;
  }
  if (at != text.size()) return std::nullopt;
  double value = static_cast<double>(mantissa);
  for (; exponent > 0 && value < 1e308 && mantissa != 0;
       exponent -= exponent < 22 ? exponent : 22) {
    double by = 1;
    for (int64_t i = 0; i < (exponent < 22 ? exponent : 22); ++i) by *= 10;
    value *= by;
  }
  for (; exponent < 0 && value > 0; exponent += exponent > -22 ? -exponent : 22) {
    double by = 1;
    for (int64_t i = 0; i < (exponent > -22 ? -exponent : 22); ++i) by *= 10;
    value /= by;
  }
  return negative ? -value : value;
}

/// A number with two decimals, half a cent away from zero; nothing past 2^53 cents.
inline std::optional<std::string_view> cents(double value) {
  const double scaled = (value < 0 ? -value : value) * 100 + 0.5;
  if (!(scaled < 9007199254740992.0)) return std::nullopt;
  const auto whole = static_cast<uint64_t>(scaled);
  Text text;
  if (value < 0 && whole != 0) text << '-';
  text << whole / 100 << '.' << static_cast<char>('0' + whole / 10 % 10)
       << static_cast<char>('0' + whole % 10);
  return text.view();
}

}  // namespace millrace::json

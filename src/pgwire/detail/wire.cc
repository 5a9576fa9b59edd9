#include "pgwire/detail/wire.h"

#include <fmt/format.h>

namespace millrace::pgwire::detail {

void put_text(std::string& out, std::string_view text) {
  out += text.substr(0, text.find('\0'));
  out += '\0';
}

std::string_view Reader::text() {
  size_t end = ok_ ? rest_.find('\0') : std::string_view::npos;
  if (end == std::string_view::npos) {
    has(SIZE_MAX);
    return {};
  }
  std::string_view result = rest_.substr(0, end);
  rest_.remove_prefix(end + 1);
  return result;
}

std::string_view Reader::bytes(size_t count) {
  if (!has(count)) return {};
  std::string_view result = rest_.substr(0, count);
  rest_.remove_prefix(count);
  return result;
}

void Frames::feed(std::string_view bytes) {
  // What was consumed goes when new bytes come, so that frames stay valid until then.
  buffer_.erase(0, at_);
  at_ = 0;
  if (buffer_.empty() && buffer_.capacity() > (1u << 20)) buffer_.shrink_to_fit();
  buffer_ += bytes;
}

Result<std::optional<Frames::Frame>> Frames::next(bool startup) {
  std::string_view rest = std::string_view(buffer_).substr(at_);
  char type = 0;
  if (!startup) {
    if (rest.empty()) return std::optional<Frame>();
    type = rest[0];
    if (std::string_view("BCDEFHPQSXcdfp").find(type) == std::string_view::npos) {
      return Error{ErrorCode::kProtocol, fmt::format("invalid frontend message type {}",
                                                     static_cast<int>(static_cast<uint8_t>(type)))};
    }
    rest.remove_prefix(1);
  }
  if (rest.size() < 4) return std::optional<Frame>();
  auto length = Reader(rest).integer<int32_t>();
  size_t shortest = startup ? 8 : 4;
  size_t longest = startup ? kStartupBytesMax : kMessageBytesMax;
  if (length < 0 || static_cast<size_t>(length) < shortest ||
      static_cast<size_t>(length) > longest) {
    return Error{ErrorCode::kProtocol,
                 fmt::format("invalid message length {} (at most {})", length, longest)};
  }
  auto size = static_cast<size_t>(length);
  if (rest.size() < size) return std::optional<Frame>();
  at_ += size + (startup ? 0 : 1);
  return std::optional<Frame>(Frame{type, rest.substr(4, size - 4)});
}

void put_report(std::string& out, char type, const Report& report) {
  Message message(out, type);
  auto field = [&](char code, std::string_view text) {
    out += code;
    put_text(out, text);
  };
  field('S', report.severity);
  field('V', report.severity);
  field('C', report.sqlstate);
  field('M', report.text);
  if (!report.hint.empty()) field('H', report.hint);
  if (report.position) field('P', fmt::format("{}", *report.position));
  out += '\0';
}

}  // namespace millrace::pgwire::detail

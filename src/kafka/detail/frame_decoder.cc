#include "kafka/detail/frame_decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace millrace::kafka {

std::span<char> FrameDecoder::space() {
  if (frame_bytes_ > 0) {
    if (frame_have_ == frame_.size()) {
      const size_t grown = frame_have_ < 4 * kBufferBytes ? 4 * kBufferBytes
                                                          : std::max(2 * frame_have_, kWholeBytes);
      const size_t wanted = std::min(frame_bytes_, grown);
      // The library may offer more room than was asked for.
      frame_.resize_and_overwrite(wanted, [wanted](char*, size_t) { return wanted; });
    }
    return std::span(frame_).subspan(frame_have_);
  }
  if (buffer_.empty())
    buffer_.resize_and_overwrite(kBufferBytes, [](char*, size_t n) { return n; });
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  return std::span(buffer_).subspan(end_);
}

void FrameDecoder::shrink() {
  if (begin_ == end_) buffer_ = std::string();
}

void FrameDecoder::filled(size_t count) {
  if (frame_bytes_ > 0) {
    frame_have_ += count;
  } else {
    end_ += count;
  }
}

Result<std::optional<std::string>> FrameDecoder::next() {
  using None = std::optional<std::string>;
  if (frame_bytes_ > 0) {
    if (frame_have_ < frame_bytes_) return None();
    frame_bytes_ = 0;
    frame_have_ = 0;
    return None(std::move(frame_));
  }
  const size_t have = end_ - begin_;
  if (have < sizeof(int32_t)) return None();
  int32_t length;
  std::memcpy(&length, buffer_.data() + begin_, sizeof(length));
  length = std::byteswap(length);
  if (length <= 0 || static_cast<size_t>(length) > frame_bytes_max_) {
    return Error{ErrorCode::kProtocol, fmt::format("a frame of {} bytes; at most {} are allowed",
                                                   length, frame_bytes_max_)};
  }
  const auto bytes = static_cast<size_t>(length);
  const char* body = buffer_.data() + begin_ + sizeof(length);
  if (have >= sizeof(length) + bytes) {
    begin_ += sizeof(length) + bytes;
    if (begin_ == end_) begin_ = end_ = 0;
    return None(std::string(body, bytes));
  }
  if (sizeof(length) + bytes > kBufferBytes) {
    frame_.assign(body, have - sizeof(length));
    frame_have_ = frame_.size();
    frame_bytes_ = bytes;
    begin_ = end_ = 0;
  }
  return None();
}

}  // namespace millrace::kafka

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"

namespace millrace::kafka {

/// Cuts a stream of bytes into frames: a 4-byte length, then that many bytes. A step machine
/// without I/O: read into space(), say how much with filled(), take frames with next() until there
/// is none.
///
/// A frame's memory grows with the bytes that arrive, not with the length that it claims: what a
/// string of kWholeBytes has beyond them was not touched yet. Small frames are copied out of one
/// shared buffer; larger ones are read into their own string at once.
class FrameDecoder {
 public:
  static constexpr size_t kBufferBytes = 16 * 1024;
  /// A frame up to this size is given its whole string once 64 KiB of it came: a producer's usual
  /// batch is then copied no more on its way.
  static constexpr size_t kWholeBytes = 2u << 20;

  explicit FrameDecoder(size_t frame_bytes_max) : frame_bytes_max_(frame_bytes_max) {}

  /// Where the next bytes of the stream go; never empty. Call next() until it gives nothing before.
  std::span<char> space();
  void filled(size_t count);
  /// Gives memory back that holds no bytes. Call when nothing is there to be read.
  void shrink();
  /// What it holds.
  size_t memory_bytes() const { return buffer_.size() + frame_have_; }
  /// Whether a frame has begun to come and is not whole.
  bool has_part() const { return frame_bytes_ > 0 || end_ > begin_; }
  /// The next whole frame, without its length. Errors: kProtocol (a negative or too large length);
  /// after one, nothing more comes.
  Result<std::optional<std::string>> next();

 private:
  size_t frame_bytes_max_;
  std::string buffer_;  // bytes begin_..end_ are not yet in a frame
  size_t begin_ = 0;
  size_t end_ = 0;
  // A frame larger than the buffer: its bytes so far are frame_[0..frame_have_).
  std::string frame_;
  size_t frame_have_ = 0;
  size_t frame_bytes_ = 0;  // 0: none under way
};

}  // namespace millrace::kafka

#include "flow/detail/batch_windows.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace millrace::flow {

namespace {
// A quarter of a core's own cache: larger windows are read back from memory when they are decoded.
constexpr size_t kWindowBytes = 256u << 10;
}  // namespace

BatchWindows::BatchWindows(log::ReadResult read) : read_(std::move(read)) {}

Result<BatchWindows::Window> BatchWindows::next() {
  if (!read_.file.file) {
    const std::string_view all = read_.batches;
    return Window{all.substr(std::exchange(given_, all.size())), read_.next_offset};
  }
  buffer_.erase(0, std::exchange(given_, 0));
  Window window;
  for (size_t wanted = kWindowBytes; given_ == 0 && wanted > buffer_.size();) {
    const size_t had = buffer_.size();
    MR_TRY(fill(wanted));
    if (buffer_.size() == had) break;  // what is left is no whole batch
    const std::string_view bytes = buffer_;
    wanted = log::BatchHeader::kBytes;
    while (const auto head = log::parse_batch_header(bytes.substr(given_))) {
      wanted = head->total_bytes();
      if (wanted > bytes.size() - given_) break;
      given_ += wanted;
      window.until = head->last_offset() + 1;
    }
  }
  if (given_ == 0 && !buffer_.empty())
    return Error{ErrorCode::kCorruptRecord, "a record batch is cut short, or is none"};
  window.batches = std::string_view(buffer_).substr(0, given_);
  if (read_.file.length == 0 && given_ == buffer_.size()) window.until = read_.next_offset;
  return window;
}

/// Copies from the file until the buffer holds `bytes`, or all that is left.
Result<> BatchWindows::fill(size_t bytes) {
  auto& [file, position, length] = read_.file;
  while (buffer_.size() < bytes && length > 0) {
    const size_t before = buffer_.size();
    const size_t asked = std::min(bytes - before, length);
    ssize_t got = 0;
    buffer_.resize_and_overwrite(before + asked, [&](char* at, size_t) {
      got = ::pread(file->descriptor(), at + before, asked, static_cast<off_t>(position));
      return before + static_cast<size_t>(std::max<ssize_t>(got, 0));
    });
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0)
      return Error{ErrorCode::kIo,
                   fmt::format("a log's file cannot be read at byte {}: {}", position,
                               got < 0 ? std::strerror(errno) : "it ends")};
    position += static_cast<size_t>(got);
    length -= static_cast<size_t>(got);
  }
  return {};
}

}  // namespace millrace::flow

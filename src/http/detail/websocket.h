#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace::http::detail {

// The server's side of RFC 6455 without I/O. Nothing is expected of the client but pings and its
// end: its messages are read and forgotten.

/// Sec-WebSocket-Accept for a client's Sec-WebSocket-Key.
std::string websocket_accept(std::string_view key);

enum class WebSocketFrame : uint8_t {
  kContinuation = 0,
  kText = 1,
  kBinary = 2,
  kClose = 8,
  kPing = 9,
  kPong = 10
};
std::string websocket_frame(WebSocketFrame type, std::string_view payload);
/// A close frame; `reason` is cut to what one may hold.
std::string websocket_close(uint16_t code, std::string_view reason);

/// Cuts what a client sends into frames.
class WebSocketReader {
 public:
  struct Frame {
    WebSocketFrame type;
    std::string payload;
  };
  void feed(std::string_view bytes) { buffer_ += bytes; }
  /// The next whole frame, or nothing while it is incomplete. Errors: kProtocol, kRecordTooLarge.
  Result<std::optional<Frame>> next();

  static constexpr size_t kPayloadBytesMax = 64u << 10;

 private:
  std::string buffer_;
};

}  // namespace millrace::http::detail

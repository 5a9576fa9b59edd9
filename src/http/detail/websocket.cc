#include "http/detail/websocket.h"

#include <fmt/format.h>

// The handshake's SHA-1 and base64, which Beast has for itself alone; its stream would want the
// socket.
#include <boost/beast/websocket/detail/hybi13.hpp>

namespace millrace::http::detail {

namespace {
constexpr size_t kControlBytesMax = 125;
}

std::string websocket_accept(std::string_view key) {
  boost::beast::websocket::detail::sec_ws_accept_type accept;
  boost::beast::websocket::detail::make_sec_ws_accept(accept, {key.data(), key.size()});
  return {accept.data(), accept.size()};
}

std::string websocket_frame(WebSocketFrame type, std::string_view payload) {
  std::string bytes(1, static_cast<char>(0x80 | static_cast<uint8_t>(type)));
  const uint64_t size = payload.size();
  size_t length_bytes = 0;
  if (size < 126) {
    bytes += static_cast<char>(size);
  } else {
    length_bytes = size < 65536 ? 2 : 8;
    bytes += static_cast<char>(size < 65536 ? 126 : 127);
  }
  for (size_t i = length_bytes; i > 0; --i)
    bytes += static_cast<char>((size >> ((i - 1) * 8)) & 0xff);
  bytes += payload;
  return bytes;
}

std::string websocket_close(uint16_t code, std::string_view reason) {
  std::string payload{static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
  size_t size = std::min(reason.size(), kControlBytesMax - 2);
  // Not in the middle of a character.
  while (size < reason.size() && size > 0 && (reason[size] & 0xC0) == 0x80) --size;
  payload += reason.substr(0, size);
  return websocket_frame(WebSocketFrame::kClose, payload);
}

Result<std::optional<WebSocketReader::Frame>> WebSocketReader::next() {
  const auto byte = [&](size_t at) { return static_cast<uint8_t>(buffer_[at]); };
  const auto incomplete = std::optional<Frame>();
  if (buffer_.size() < 2) return incomplete;
  if ((byte(0) & 0x70) != 0 || (byte(1) & 0x80) == 0)
    return Error{ErrorCode::kProtocol, "a frame that is not masked, or of an extension"};
  const auto type = static_cast<WebSocketFrame>(byte(0) & 0x0f);
  uint64_t size = byte(1) & 0x7f;
  const size_t length_bytes = size < 126 ? 0 : size == 126 ? 2 : 8;
  const size_t head = 2 + length_bytes + 4;
  if (buffer_.size() < head) return incomplete;
  if (length_bytes > 0) size = 0;
  for (size_t i = 0; i < length_bytes; ++i) size = size << 8 | byte(2 + i);
  if (size > kPayloadBytesMax)
    return Error{ErrorCode::kRecordTooLarge, fmt::format("a frame of {} bytes", size)};
  if (type >= WebSocketFrame::kClose && size > kControlBytesMax)
    return Error{ErrorCode::kProtocol, "a control frame that is too long"};
  if (buffer_.size() < head + size) return incomplete;
  Frame frame{type, buffer_.substr(head, size)};
  for (size_t i = 0; i < size; ++i)
    frame.payload[i] = static_cast<char>(frame.payload[i] ^ buffer_[head - 4 + i % 4]);
  buffer_.erase(0, head + size);
  return std::optional(std::move(frame));
}

}  // namespace millrace::http::detail

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace millrace::http::detail {

struct Request {
  std::string method, target;
  bool keep_alive = true;
  unsigned version = 11;  // 10 or 11
  std::string last_event_id = {};
  std::string if_none_match = {};
  bool foreign_page = false;  // a browser sends it for a page that is of another origin
  std::string user = {};      // of Authorization: Basic, as the password
  std::string password = {};
  std::optional<std::string> websocket_key = {};  // the connection is to become a WebSocket
  std::string body = {};
};

struct Answer {
  int status = 200;
  std::string_view content_type;
  std::string body;
  std::string_view allow = "GET, HEAD";  // of a 405
  std::string etag = {};                 // in its quotes
};

/// The server's side of one HTTP/1.1 connection, without I/O: bytes in, requests out, answers to
/// bytes. Requests may be pipelined.
class Exchange {
 public:
  Exchange();
  ~Exchange();

  void feed(std::string_view bytes) { buffer_ += bytes; }
  /// The next whole request, or nothing while it is incomplete. Errors: kProtocol, kRecordTooLarge
  /// (header or body over the limit); nothing can be read after.
  Result<std::optional<Request>> next();
  /// What came after the requests that were given.
  std::string take_rest() { return std::exchange(buffer_, {}); }
  /// A response as bytes; a HEAD gets the header alone.
  std::string respond(const Request& request, const Answer& answer, bool keep_alive);
  /// The last response, to a request that cannot be read.
  std::string refuse(const Error& error);

  static constexpr size_t kHeaderBytesMax = 8u << 10;
  static constexpr size_t kBodyBytesMax = 16u << 20;

 private:
  struct Parser;
  std::string buffer_;
  std::unique_ptr<Parser> parser_;
};

}  // namespace millrace::http::detail

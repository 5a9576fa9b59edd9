#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "http/detail/exchange.h"
#include "http/detail/websocket.h"
#include "http/server.h"

namespace millrace::http::detail {

/// What GET /v1/subscribe asks for.
struct FeedRequest {
  std::string view;
  sql::SubscribeOptions options;
};
/// From the target's query, and the Last-Event-ID of an EventSource that comes again. Errors:
/// kInvalidArgument.
Result<FeedRequest> read_feed_request(const Request& request);

/// An error as a JSON object.
std::string to_json(const Error& error);

/// A subscription as the bytes of one HTTP answer: Server-Sent Events, or WebSocket messages.
/// Without I/O; calls may block, one at a time.
class Feed {
 public:
  Feed(const Request& request, std::unique_ptr<sql::Subscription> subscription);

  /// The answer's head.
  std::string head() const;
  /// What there is to send; empty when nothing has changed. ended() is true after the last.
  std::string next();
  /// Takes what the client has sent; gives what answers it.
  std::string take(std::string_view bytes);
  /// Something for a client that has heard nothing for a while.
  std::string sign_of_life() const;
  /// The last word when the node stops.
  std::string shut_down();
  bool ended() const { return ended_; }
  sql::Subscription& subscription() { return *subscription_; }

  /// How much next() gathers before it is sent.
  static constexpr size_t kBytes = 64u << 10;

 private:
  void put(const sql::Changes& changes, std::string& out) const;
  std::string end(const Error& error);

  const std::optional<std::string> websocket_key_;
  std::unique_ptr<sql::Subscription> subscription_;
  WebSocketReader reader_;
  bool ended_ = false;
};

}  // namespace millrace::http::detail

#include "http/detail/feed.h"

#include <fmt/format.h>

#include "base/json.h"
#include "http/detail/query.h"

namespace millrace::http::detail {

namespace {

constexpr uint16_t kGoingAway = 1001, kProtocolError = 1002, kInternalError = 1011;

std::string quoted(std::string_view text) {
  std::string out;
  append_json_string(text, out);
  return out;
}

Error wrong(std::string text) {
  return Error{ErrorCode::kInvalidArgument, std::move(text), std::nullopt,
               "GET /v1/subscribe?view=NAME[&snapshot=true][&token=TOKEN]"};
}

std::string as_json(const sql::Changes& changes) {
  std::string out = fmt::format(R"({{"epoch":{})", changes.epoch);
  if (!changes.token.empty()) out += fmt::format(R"(,"token":{})", quoted(changes.token));
  if (changes.snapshot) out += R"(,"snapshot":true)";
  if (changes.reset) out += R"(,"reset":true)";
  out += R"(,"rows":[)";
  bool first = true;
  for (const auto& row : changes.rows) {
    fmt::format_to(std::back_inserter(out), R"({}{{"weight":{},"row":{}}})", first ? "" : ",",
                   row.weight, row.json);
    first = false;
  }
  return out + "]}";
}

}  // namespace

std::string to_json(const Error& error) {
  std::string out = fmt::format(R"({{"error":{{"code":{},"message":{})",
                                quoted(info(error.code).sqlstate), quoted(error.text));
  if (!error.hint.empty()) out += fmt::format(R"(,"hint":{})", quoted(error.hint));
  return out + "}}";
}

Result<FeedRequest> read_feed_request(const Request& request) {
  FeedRequest feed;
  feed.options.reset = true;
  auto query = read_query(request.target);
  if (!query) return wrong(query.error().text);
  for (auto& [name, value] : *query) {
    if (name == "view") {
      feed.view = value;
    } else if (name == "token") {
      feed.options.token = value;
    } else if (name == "snapshot" && (value == "true" || value == "false")) {
      feed.options.snapshot = value == "true";
    } else {
      return wrong(fmt::format("{}={} is not understood", name, value));
    }
  }
  if (feed.view.empty()) return wrong("which view? It is not named");
  // An EventSource that comes again asks with the URL that it was made with.
  if (!request.last_event_id.empty()) feed.options.token = request.last_event_id;
  return feed;
}

Feed::Feed(const Request& request, std::unique_ptr<sql::Subscription> subscription)
    : websocket_key_(request.websocket_key), subscription_(std::move(subscription)) {}

std::string Feed::head() const {
  if (websocket_key_)
    return fmt::format(
        "HTTP/1.1 101 Switching Protocols\r\nServer: Millrace\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        websocket_accept(*websocket_key_));
  // The end of the connection is the end of the answer.
  return "HTTP/1.1 200 OK\r\nServer: Millrace\r\nContent-Type: text/event-stream\r\n"
         "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
         "retry: 1000\n\n";
}

void Feed::put(const sql::Changes& changes, std::string& out) const {
  const std::string message = as_json(changes);
  if (websocket_key_) {
    out += websocket_frame(WebSocketFrame::kText, message);
    return;
  }
  if (!changes.token.empty()) out += fmt::format("id: {}\n", changes.token);
  out += fmt::format("data: {}\n\n", message);
}

std::string Feed::next() {
  std::string out;
  while (out.size() < kBytes && !ended_) {
    auto changes = subscription_->next();
    if (!changes) return out + end(changes.error());
    if (!*changes) break;
    put(**changes, out);
  }
  return out;
}

std::string Feed::end(const Error& error) {
  ended_ = true;
  const std::string message = to_json(error);
  if (!websocket_key_) return fmt::format("event: end\ndata: {}\n\n", message);
  return websocket_frame(WebSocketFrame::kText, message) +
         websocket_close(kInternalError, error.text);
}

std::string Feed::take(std::string_view bytes) {
  std::string answer;
  if (!websocket_key_) return answer;  // SSE has no way back
  reader_.feed(bytes);
  while (!ended_) {
    auto frame = reader_.next();
    if (!frame) {
      ended_ = true;
      return answer + websocket_close(kProtocolError, frame.error().text);
    }
    if (!*frame) break;
    if ((*frame)->type == WebSocketFrame::kPing)
      answer += websocket_frame(WebSocketFrame::kPong, (*frame)->payload);
    if ((*frame)->type == WebSocketFrame::kClose) {
      ended_ = true;
      answer += websocket_frame(WebSocketFrame::kClose, (*frame)->payload.substr(0, 2));
    }
  }
  return answer;
}

std::string Feed::sign_of_life() const {
  return websocket_key_ ? websocket_frame(WebSocketFrame::kPing, "") : ": still here\n\n";
}

std::string Feed::shut_down() {
  ended_ = true;
  return websocket_key_ ? websocket_close(kGoingAway, "the node is stopping") : "";
}

}  // namespace millrace::http::detail

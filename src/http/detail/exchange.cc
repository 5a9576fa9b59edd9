#include "http/detail/exchange.h"

#include <fmt/format.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/detail/base64.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/websocket/rfc6455.hpp>

namespace millrace::http::detail {

namespace beast = boost::beast;

namespace {

/// The user's name and password of Basic credentials; empty when there are none.
std::pair<std::string, std::string> user_of(std::string_view authorization) {
  constexpr std::string_view kBasic = "Basic ";
  if (!authorization.starts_with(kBasic)) return {};
  authorization.remove_prefix(kBasic.size());
  namespace base64 = beast::detail::base64;
  std::string text(base64::decoded_size(authorization.size()) + 3, '\0');
  text.resize(base64::decode(text.data(), authorization.data(), authorization.size()).first);
  const auto colon = text.find(':');
  if (colon == std::string::npos) return {};
  return {text.substr(0, colon), text.substr(colon + 1)};
}

/// Whether `origin`, which browsers alone send, is of another server than the one that is asked.
bool is_foreign(std::string_view origin, std::string_view host) {
  if (origin.empty()) return false;
  const auto scheme = origin.find("://");
  return scheme == origin.npos || origin.substr(scheme + 3) != host;
}

}  // namespace

struct Exchange::Parser {
  beast::http::request_parser<beast::http::string_body> parser;
  Parser() {
    parser.eager(true);
    parser.header_limit(kHeaderBytesMax);
    parser.body_limit(kBodyBytesMax);
  }
};

Exchange::Exchange() : parser_(std::make_unique<Parser>()) {}
Exchange::~Exchange() = default;

Result<std::optional<Request>> Exchange::next() {
  auto& parser = parser_->parser;
  while (!buffer_.empty() && !parser.is_done()) {
    beast::error_code failed;
    size_t used = parser.put(boost::asio::buffer(buffer_), failed);
    buffer_.erase(0, used);
    if (failed == beast::http::error::need_more) break;
    if (failed == beast::http::error::header_limit || failed == beast::http::error::body_limit) {
      return Error{ErrorCode::kRecordTooLarge,
                   fmt::format("the request is too large: {}", failed.message())};
    }
    if (failed) {
      return Error{ErrorCode::kProtocol, fmt::format("not an HTTP request: {}", failed.message())};
    }
    if (used == 0) break;
  }
  if (!parser.is_done()) {
    // The parser leaves a line that is not whole with us.
    if (buffer_.size() > kHeaderBytesMax) {
      return Error{ErrorCode::kRecordTooLarge, "the request is too large: header limit exceeded"};
    }
    return std::optional<Request>();
  }
  const auto& message = parser.get();
  Request request{std::string(message.method_string()), std::string(message.target()),
                  message.keep_alive(), message.version()};
  request.last_event_id = std::string(message["Last-Event-ID"]);
  request.if_none_match = std::string(message[beast::http::field::if_none_match]);
  request.foreign_page = is_foreign(std::string(message[beast::http::field::origin]),
                                    std::string(message[beast::http::field::host]));
  std::tie(request.user, request.password) =
      user_of(std::string(message[beast::http::field::authorization]));
  if (beast::websocket::is_upgrade(message) &&
      message[beast::http::field::sec_websocket_version] == "13") {
    request.websocket_key = std::string(message[beast::http::field::sec_websocket_key]);
    // 16 bytes in base64.
    if (request.websocket_key->size() != 24) request.websocket_key.reset();
  }
  request.body = std::move(parser.get().body());
  parser_ = std::make_unique<Parser>();
  return std::optional<Request>(std::move(request));
}

std::string Exchange::respond(const Request& request, const Answer& answer, bool keep_alive) {
  beast::http::response<beast::http::string_body> response;
  response.version(request.version);
  response.result(static_cast<unsigned>(answer.status));
  response.set(beast::http::field::server, "Millrace");
  response.set(beast::http::field::content_type,
               beast::string_view(answer.content_type.data(), answer.content_type.size()));
  if (answer.status == 405) {
    response.set(beast::http::field::allow,
                 beast::string_view(answer.allow.data(), answer.allow.size()));
  }
  if (!answer.etag.empty()) response.set(beast::http::field::etag, answer.etag);
  response.keep_alive(keep_alive);
  if (answer.status != 304) response.content_length(answer.body.size());
  bool head = request.method == "HEAD";
  if (!head) response.body() = answer.body;

  std::string bytes;
  beast::http::response_serializer<beast::http::string_body> serializer(response);
  auto take = [&](beast::error_code&, const auto& buffers) {
    size_t size = 0;
    for (auto buffer : beast::buffers_range_ref(buffers)) {
      bytes.append(static_cast<const char*>(buffer.data()), buffer.size());
      size += buffer.size();
    }
    serializer.consume(size);
  };
  beast::error_code failed;
  while (!failed && !serializer.is_done()) serializer.next(failed, take);
  return bytes;
}

std::string Exchange::refuse(const Error& error) {
  int status = error.code == ErrorCode::kRecordTooLarge ? 413 : 400;
  Answer answer{status, "text/plain; charset=utf-8", error.text + "\n"};
  return respond(Request{"GET", "", false, 11}, answer, false);
}

}  // namespace millrace::http::detail

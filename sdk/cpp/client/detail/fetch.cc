#include "detail/fetch.h"

#include <fmt/format.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include "wasm/module.h"

namespace millrace::client::detail {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

struct Address {
  std::string host, port;
};

Result<Address> parse(std::string_view text) {
  const auto colon = text.rfind(':');
  auto host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (colon == std::string_view::npos || host.empty() || host.find('/') != host.npos ||
      colon + 1 == text.size()) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("\"{}\" is no address of a node", text),
                 std::nullopt, "It is the node's HTTP address, for example 127.0.0.1:8080."};
  }
  return Address{std::string(host), std::string(text.substr(colon + 1))};
}

std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) || c == '_' || c == '-' || c == '.') {
      out += c;
    } else {
      out += fmt::format("%{:02X}", byte);
    }
  }
  return out;
}

Error unreachable(std::string_view address, const beast::error_code& why) {
  return Error{ErrorCode::kConnectionClosed,
               fmt::format("no node answers at {}: {}", address,
                           why == beast::error::timeout ? "not in time" : why.message()),
               std::nullopt, "Is it the HTTP address of a node that runs (DIR/node.json has it)?"};
}

using Answer = http::response<http::string_body>;

/// One request on a connection of its own.
Result<Answer> exchange(std::string_view address, const http::request<http::empty_body>& request,
                        const std::stop_token& stop, std::chrono::milliseconds answer_time) {
  MR_TRY(const auto at, parse(address));
  asio::io_context io;
  const auto work = asio::make_work_guard(io);  // so that only a stop ends it
  const std::stop_callback stopping(stop, [&io] { io.stop(); });
  beast::tcp_stream stream(io);
  beast::error_code outcome;
  bool done = false;
  const auto note = [&](beast::error_code code, const auto&...) {
    outcome = code;
    done = true;
  };
  /// Runs what was begun to its end.
  const auto failed = [&]() -> bool {
    outcome = asio::error::operation_aborted;  // what a stop leaves
    for (done = false; !done && !io.stopped();) io.run_one();
    return static_cast<bool>(outcome);
  };
  asio::ip::tcp::resolver resolver(io);
  asio::ip::tcp::resolver::results_type found;
  resolver.async_resolve(at.host, at.port, [&](beast::error_code code, auto results) {
    note(code);
    found = std::move(results);
  });
  if (failed()) return unreachable(address, outcome);
  stream.expires_after(answer_time);
  stream.async_connect(found, note);
  if (failed()) return unreachable(address, outcome);
  http::async_write(stream, request, note);
  if (failed()) return unreachable(address, outcome);
  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(wasm::Module::kBytesMax);
  http::async_read(stream, buffer, parser, note);
  if (failed()) return unreachable(address, outcome);
  return parser.release();
}

std::string trimmed(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

}  // namespace

Result<Fetched> fetch_module(std::string_view address, std::string_view function,
                             std::string_view hash, std::string_view known,
                             const std::stop_token& stop, std::chrono::milliseconds answer_time) {
  std::string target = fmt::format("/v1/functions/{}/module", percent_encoded(function));
  if (!hash.empty()) target += "?hash=" + percent_encoded(hash);
  http::request<http::empty_body> request(http::verb::get, target, 11);
  request.set(http::field::host, std::string(address));
  request.set(http::field::user_agent, "Millrace client");
  request.keep_alive(false);
  if (!known.empty()) request.set(http::field::if_none_match, fmt::format("\"{}\"", known));
  MR_TRY(auto answer, exchange(address, request, stop, answer_time));
  if (answer.result() == http::status::not_modified) return Fetched{.unchanged = true, .bytes = {}};
  if (answer.result() == http::status::ok) {
    return Fetched{.unchanged = false, .bytes = std::move(answer.body())};
  }
  const auto why = answer.result() == http::status::not_found ? ErrorCode::kUndefinedFunction
                   : answer.result() == http::status::service_unavailable
                       ? ErrorCode::kConnectionClosed
                       : ErrorCode::kProtocol;
  return Error{why, fmt::format("the node at {} gives no module of function \"{}\" ({}): {}",
                                address, function, answer.result_int(), trimmed(answer.body()))};
}

}  // namespace millrace::client::detail

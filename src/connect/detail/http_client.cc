#include "connect/detail/http_client.h"

#include <fmt/format.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <optional>

namespace millrace::connect {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

namespace {

/// How often it looks whether to give up.
constexpr auto kTurn = std::chrono::milliseconds(100);

beast::string_view view(std::string_view text) { return {text.data(), text.size()}; }

Error failed(const HttpEndpoint& endpoint, std::string_view doing, const beast::error_code& why) {
  return Error{ErrorCode::kConnectionClosed,
               fmt::format("{} {}:{}: {}", doing, endpoint.url.host, endpoint.url.port,
                           why == beast::error::timeout ? "no answer in time" : why.message())};
}

/// Why there is no TLS with a server that can be reached.
Error refused(const HttpEndpoint& endpoint, SSL* tls, const beast::error_code& why) {
  const auto verified = SSL_get_verify_result(tls);
  if (verified == X509_V_OK) return failed(endpoint, "greeting", why);
  return Error{ErrorCode::kConnectionClosed,
               fmt::format("the certificate of {}:{} is not trusted: {}", endpoint.url.host,
                           endpoint.url.port, X509_verify_cert_error_string(verified)),
               std::nullopt, "ca_file = 'FILE' names the certificates to trust, in PEM."};
}

}  // namespace

Result<HttpUrl> HttpUrl::parse(std::string_view text) {
  HttpUrl url;
  const auto wrong = [&](std::string_view why) {
    // The whole may hold a secret.
    return Error{ErrorCode::kInvalidConfig, fmt::format("the option url {}", why), std::nullopt,
                 "For example url = 'https://example.com:8443/path'."};
  };
  url.tls = text.starts_with("https://");
  if (!url.tls && !text.starts_with("http://")) return wrong("begins with http:// or https://");
  text.remove_prefix(url.tls ? 8 : 7);
  const auto slash = text.find_first_of("/?");
  auto authority = text.substr(0, slash);
  url.target = slash == std::string_view::npos ? "/" : std::string(text.substr(slash));
  if (url.target.starts_with('?')) url.target.insert(0, "/");
  if (url.target.find_first_of(" \r\n#") != std::string::npos) return wrong("has a bad path");
  if (authority.find('@') != std::string_view::npos) {
    return wrong("holds a user: write it as a header, Authorization: Basic ...");
  }
  const auto colon = authority.rfind(':');
  const bool has_port = colon != std::string_view::npos && !authority.ends_with(']');
  url.port = has_port ? std::string(authority.substr(colon + 1)) : url.tls ? "443" : "80";
  url.host = std::string(has_port ? authority.substr(0, colon) : authority);
  if (url.host.starts_with('[') && url.host.ends_with(']')) {
    url.host = url.host.substr(1, url.host.size() - 2);
  }
  if (url.host.empty() || url.port.empty() ||
      url.port.find_first_not_of("0123456789") != std::string::npos) {
    return wrong("names no host");
  }
  return url;
}

Result<HttpEndpoint> HttpEndpoint::take(Options& options, std::string_view url,
                                        std::string_view method) {
  HttpEndpoint out;
  MR_TRY(out.url, HttpUrl::parse(url));
  MR_TRY(out.method, options.one_of("method", method, {"GET", "POST", "PUT", "PATCH"}));
  constexpr std::chrono::milliseconds kLeast(10);
  MR_TRY(out.timeout, options.interval("timeout", out.timeout, kLeast));
  const auto ca_file = options.text("ca_file");
  if (ca_file && (!out.url.tls || ca_file->empty())) {
    return Error{ErrorCode::kInvalidConfig,
                 "the option ca_file names a file of certificates, and goes with https://"};
  }
  out.ca_file = ca_file.value_or("");
  // One a line: 'Authorization: Bearer ...'. The values are never told.
  const auto all = options.text("headers").value_or("");
  for (size_t from = 0; from < all.size();) {
    const size_t end = std::min(all.find('\n', from), all.size());
    const auto line = std::string_view(all).substr(from, end - from);
    from = end + 1;
    const auto colon = line.find(':');
    auto value = colon == std::string_view::npos ? line : line.substr(colon + 1);
    while (value.starts_with(' ')) value.remove_prefix(1);
    if (line.empty()) continue;
    if (colon == std::string_view::npos || colon == 0 || value.find('\r') != value.npos) {
      return Error{ErrorCode::kInvalidConfig, "the option headers holds a line that is no header",
                   std::nullopt,
                   "A line is Name: value; several come with line breaks, E'...\\n...'."};
    }
    out.headers[std::string(line.substr(0, colon))] = std::string(value);
  }
  return out;
}

struct HttpClient::Connection {
  asio::io_context io;
  asio::ssl::context tls{asio::ssl::context::tls_client};
  std::optional<beast::tcp_stream> plain;
  std::optional<beast::ssl_stream<beast::tcp_stream>> secure;
  beast::flat_buffer buffer;

  beast::tcp_stream& tcp() { return secure ? secure->next_layer() : *plain; }
};

HttpClient::HttpClient(const HttpEndpoint& endpoint, const Progress& progress)
    : endpoint_(endpoint), progress_(progress) {}
HttpClient::~HttpClient() = default;

void HttpClient::finish(Connection& connection) {
  connection.io.restart();
  while (!connection.io.stopped()) {
    connection.io.run_for(kTurn);
    if (progress_.overdue()) connection.tcp().close();
  }
}

Result<> HttpClient::secure(Connection& connection) {
  beast::error_code outcome;
  const auto& file = endpoint_.ca_file;
  if (file.empty()) {
    connection.tls.set_default_verify_paths(outcome);
  } else {
    connection.tls.load_verify_file(file, outcome);
  }
  if (outcome) {
    return Error{ErrorCode::kInvalidConfig,
                 fmt::format("the certificates of {} cannot be read: {}",
                             file.empty() ? "the system" : file, outcome.message()),
                 std::nullopt, "ca_file names a file in PEM that the node can read."};
  }
  connection.tls.set_verify_mode(asio::ssl::verify_peer, outcome);
  connection.secure.emplace(connection.io, connection.tls);
  auto* const tls = connection.secure->native_handle();
  const auto& host = endpoint_.url.host;
  // An address is no name: it is not announced, and stands elsewhere in a certificate.
  if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), host.c_str()) == 1) return {};
  SSL_set1_host(tls, host.c_str());
  SSL_set_tlsext_host_name(tls, host.c_str());
  return {};
}

Result<> HttpClient::connect() {
  auto made = std::make_unique<Connection>();
  auto& connection = *made;
  beast::error_code outcome;
  asio::ip::tcp::resolver resolver(connection.io);
  const auto found = resolver.resolve(endpoint_.url.host, endpoint_.url.port, outcome);
  if (outcome) return failed(endpoint_, "finding", outcome);
  if (endpoint_.url.tls) {
    MR_TRY(secure(connection));
  } else {
    connection.plain.emplace(connection.io);
  }
  connection.tcp().expires_after(endpoint_.timeout);
  const auto note = [&](beast::error_code code, const auto&...) { outcome = code; };
  connection.tcp().async_connect(found, note);
  finish(connection);
  if (outcome) return failed(endpoint_, "connecting to", outcome);
  if (connection.secure) {
    connection.secure->async_handshake(asio::ssl::stream_base::client, note);
    finish(connection);
    if (outcome) return refused(endpoint_, connection.secure->native_handle(), outcome);
  }
  connection_ = std::move(made);
  return {};
}

Result<HttpAnswer> HttpClient::exchange(const std::map<std::string, std::string>& more,
                                        const std::string& body) {
  auto& connection = *connection_;
  http::request<http::string_body> request;
  request.version(11);
  request.method_string(view(endpoint_.method));
  request.target(view(endpoint_.url.target));
  request.set(http::field::host, endpoint_.url.host + ":" + endpoint_.url.port);
  request.set(http::field::user_agent, "Millrace");
  for (const auto* headers : {&endpoint_.headers, &more}) {
    for (const auto& [name, value] : *headers) request.set(view(name), view(value));
  }
  request.body() = body;
  if (endpoint_.method != "GET") request.prepare_payload();
  http::response_parser<http::string_body> parser;
  parser.body_limit(kBodyBytesMax);
  beast::error_code outcome;
  const auto note = [&](beast::error_code code, size_t) { outcome = code; };
  connection.tcp().expires_after(endpoint_.timeout);
  if (connection.secure) {
    http::async_write(*connection.secure, request, note);
  } else {
    http::async_write(*connection.plain, request, note);
  }
  finish(connection);
  if (outcome) return failed(endpoint_, "writing to", outcome);
  if (connection.secure) {
    http::async_read(*connection.secure, connection.buffer, parser, note);
  } else {
    http::async_read(*connection.plain, connection.buffer, parser, note);
  }
  finish(connection);
  if (outcome) return failed(endpoint_, "reading from", outcome);
  auto& answer = parser.get();
  HttpAnswer out;
  out.status = static_cast<int>(answer.result_int());
  out.etag = std::string(answer[http::field::etag]);
  out.last_modified = std::string(answer[http::field::last_modified]);
  out.body = std::move(answer.body());
  if (!answer.keep_alive()) connection_.reset();
  return out;
}

Result<HttpAnswer> HttpClient::send(const std::map<std::string, std::string>& more,
                                    std::string body) {
  if (progress_.overdue()) return Error{ErrorCode::kCancelled, "the connector is to stop"};
  const bool kept = connection_ != nullptr;
  if (!kept) MR_TRY(connect());
  auto answer = exchange(more, body);
  if (answer) return answer;
  connection_.reset();
  if (!kept || progress_.overdue()) return answer;
  // The server may have closed what was idle.
  MR_TRY(connect());
  answer = exchange(more, body);
  if (!answer) connection_.reset();
  return answer;
}

}  // namespace millrace::connect

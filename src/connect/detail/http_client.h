#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "connect/detail/options.h"
#include "connect/detail/progress.h"

namespace millrace::connect {

/// http://host:port/path?query, taken apart.
struct HttpUrl {
  bool tls = false;
  std::string host, port, target;
  /// Errors: kInvalidConfig.
  static Result<HttpUrl> parse(std::string_view text);
};

/// What the options of every HTTP connector say: `url`, `method`, `headers`, `timeout`, `ca_file`.
struct HttpEndpoint {
  HttpUrl url;
  std::string method;
  std::map<std::string, std::string> headers;
  std::chrono::milliseconds timeout{10'000};
  std::string ca_file;  // whose certificates are trusted; empty: those that the system trusts
  /// Errors: kInvalidConfig.
  static Result<HttpEndpoint> take(Options& options, std::string_view url, std::string_view method);
};

struct HttpAnswer {
  int status = 0;
  std::string etag, last_modified;
  std::string body;
};

/// A client of one server, HTTP/1.1 over TCP or TLS (whose certificate and name are checked). Keeps
/// its connection between requests. One thread.
class HttpClient {
 public:
  static constexpr size_t kBodyBytesMax = 64u << 20;

  HttpClient(const HttpEndpoint& endpoint, const Progress& progress);
  ~HttpClient();
  /// Waits for the answer, until the endpoint's timeout or the connector's end. `more` stand beside
  /// the endpoint's headers. Errors: kConnectionClosed, saying why.
  Result<HttpAnswer> send(const std::map<std::string, std::string>& more, std::string body);

 private:
  struct Connection;
  Result<> connect();
  /// Prepares for TLS: what is trusted, and the name that is expected.
  Result<> secure(Connection& connection);
  /// Runs what was begun to its end, which the stream's timeout and the connector's end bound.
  void finish(Connection& connection);
  Result<HttpAnswer> exchange(const std::map<std::string, std::string>& more,
                              const std::string& body);

  const HttpEndpoint& endpoint_;
  const Progress& progress_;
  std::unique_ptr<Connection> connection_;  // null: none
};

}  // namespace millrace::connect

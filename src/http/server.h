#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/io/env.h"
#include "base/io/socket.h"
#include "http/functions.h"
#include "sql/subscription.h"

namespace millrace::http {

/// HTTP/1.1: /metrics (Prometheus text), /healthz, /v1/subscribe (Server-Sent Events, WebSocket),
/// /v1/functions, and POST /v1/sources/NAME.
class Server {
 public:
  struct Options {
    std::function<Result<>()> health;  // an error is answered as 503 with its text
    /// Puts a body's records into the topic of a source, durably; gives how many; may block. None:
    /// /v1/sources/NAME is not there.
    std::function<Result<uint64_t>(const std::string& source, std::string_view body)> ingest;
    /// Follows a materialized view; may block. None: /v1/subscribe is not there.
    std::function<Result<std::unique_ptr<sql::Subscription>>(const std::string& view,
                                                             sql::SubscribeOptions)>
        subscribe;
    /// Null: /v1/functions is not there. Outlives the server.
    Functions* functions = nullptr;
  };
  static Result<std::unique_ptr<Server>> listen(io::Runtime& runtime, io::Env& env,
                                                std::string_view address, Options options);
  virtual ~Server() = default;
  virtual const std::string& address() const = 0;
  virtual io::Task<void> close(std::chrono::milliseconds grace) = 0;
};

}  // namespace millrace::http

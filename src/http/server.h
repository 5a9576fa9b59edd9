#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/io/env.h"
#include "base/io/socket.h"

namespace millrace::http {

/// HTTP/1.1: /metrics (Prometheus text) and /healthz.
class Server {
 public:
  struct Options {
    std::function<Result<>()> health;  // an error is answered as 503 with its text
  };
  static Result<std::unique_ptr<Server>> listen(io::Runtime& runtime, io::Env& env,
                                                std::string_view address, Options options);
  virtual ~Server() = default;
  virtual const std::string& address() const = 0;
  virtual io::Task<void> close(std::chrono::milliseconds grace) = 0;
};

}  // namespace millrace::http

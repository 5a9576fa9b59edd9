#pragma once

#include <memory>
#include <string>

#include "base/io/socket.h"
#include "broker/broker.h"

namespace millrace::kafka {

/// The Kafka protocol over the broker.
class Server {
 public:
  static Result<std::unique_ptr<Server>> listen(io::Runtime& runtime, io::Env& env,
                                                broker::Broker& broker, std::string_view address);
  virtual ~Server() = default;
  virtual const std::string& address() const = 0;
  /// Stops accepting, answers requests under way within `grace`, closes.
  virtual io::Task<void> close(std::chrono::milliseconds grace) = 0;
};

}  // namespace millrace::kafka

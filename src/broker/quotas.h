#pragma once

#include <memory>
#include <string>
#include <vector>

#include "broker/broker.h"

namespace millrace::broker {

/// Client quotas: bytes in, bytes out, request time (topic __client_quotas).
class Quotas {
 public:
  static io::Task<Result<std::unique_ptr<Quotas>>> open(io::Runtime& runtime, io::Env& env,
                                                        Broker& broker);
  virtual ~Quotas() = default;
  virtual io::Task<void> close() = 0;
};

}  // namespace millrace::broker

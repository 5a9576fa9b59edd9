#pragma once

#include <memory>
#include <string>
#include <vector>

#include "broker/broker.h"

namespace millrace::broker {

/// Share groups (KIP-932): a queue with per-record acknowledgement (topic __share_group_state).
class ShareGroups {
 public:
  static io::Task<Result<std::unique_ptr<ShareGroups>>> open(io::Runtime& runtime, io::Env& env,
                                                             Broker& broker);
  virtual ~ShareGroups() = default;
  virtual io::Task<void> close() = 0;
};

}  // namespace millrace::broker

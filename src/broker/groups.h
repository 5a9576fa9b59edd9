#pragma once

#include <memory>
#include <string>
#include <vector>

#include "broker/broker.h"

namespace millrace::broker {

/// Consumer groups and their committed offsets (topic __consumer_offsets).
class Groups {
 public:
  /// Loads what the journal holds.
  static io::Task<Result<std::unique_ptr<Groups>>> open(io::Runtime& runtime, io::Env& env,
                                                        Broker& broker);
  virtual ~Groups() = default;
  /// Answers those who wait, stops timers.
  virtual io::Task<void> close() = 0;
};

}  // namespace millrace::broker

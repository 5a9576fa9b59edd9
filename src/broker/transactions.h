#pragma once

#include <memory>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "broker/groups.h"

namespace millrace::broker {

/// The transaction coordinator (topic __transaction_state).
class Transactions {
 public:
  /// Loads what the journal holds, and finishes transactions that were being ended.
  static io::Task<Result<std::unique_ptr<Transactions>>> open(io::Runtime& runtime, io::Env& env,
                                                              Broker& broker, Groups& groups);
  virtual ~Transactions() = default;
  virtual io::Task<void> close() = 0;
};

}  // namespace millrace::broker

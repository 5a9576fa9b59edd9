#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/io/turn.h"
#include "log/recompress.h"

namespace millrace::broker::detail {

/// What a topic makes of batches on their way to one partition, on the shard of their producer's
/// connection, so that a hot partition's shard has no part in it. Large batches go through the
/// pool; a producer's batches leave in the order in which they came. Any shard.
class Intake {
 public:
  Intake(io::Runtime& runtime, log::IntakeRules rules);

  const log::IntakeRules& rules() const { return rules_; }
  /// Waits for those of this shard that came before; hold it until the batches are on their way.
  io::Turn& turns() { return *turns_[io::Shard::current()->index()]; }
  /// See log::take_in(). Inside the turn.
  io::Task<Result<std::string>> take_in(std::string batches);

 private:
  io::Runtime& runtime_;
  const log::IntakeRules rules_;
  std::vector<std::unique_ptr<io::Turn>> turns_;  // by shard
};

}  // namespace millrace::broker::detail

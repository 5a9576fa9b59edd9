#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "connect/connectors.h"
#include "connect/detail/body.h"
#include "connect/detail/guests.h"
#include "connect/detail/progress.h"
#include "log/record_batch.h"

namespace millrace::connect {

/// A source that others feed: the values of a body become records of one partition, in one append.
/// Any thread that is no shard's.
class Feed {
 public:
  Feed(const Connectors::Rooms& rooms, const catalog::Object& object, Progress& progress,
       BodyFormat format);
  /// Durable when it answers; gives how many records there were. Errors: kInvalidRecord (the body,
  /// a transform), those of the append.
  Result<uint64_t> put(std::string_view body);

 private:
  /// What a body has become.
  struct Fed {
    std::string batches, letter_batches;
    log::BatchBuilder builder, letters;  // the last of each
  };
  Result<> add(std::span<const std::string> values, Fed& fed);

  const Connectors::Rooms& rooms_;
  const catalog::Object& object_;
  Progress& progress_;
  const BodyFormat format_;
  Guests guests_;
  std::atomic<uint32_t> next_partition_ = 0;
};

}  // namespace millrace::connect

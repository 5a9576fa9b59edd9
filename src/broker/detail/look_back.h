#pragma once

#include <memory>

#include "broker/broker.h"
#include "wasm/records.h"

namespace millrace::broker::detail {

/// What a transform looks back on: the last records of its topic.
struct LookBack {
  size_t records = 0;  // so many, or
  int64_t ms = 0;      // those since so long before now; 0: by number

  static constexpr size_t kRecordsMax = 100'000;
  static constexpr size_t kBytesMax = size_t{16} << 20;
};
/// Nothing when the transform has none. Errors: kInvalidArgument.
Result<std::optional<LookBack>> look_back_of(const catalog::Transform& step);

/// The records, of all partitions together, oldest first by timestamp; of more than kRecordsMax or
/// kBytesMax the last. Those of aborted transactions, and of open ones, are none. On a shard.
io::Task<Result<std::shared_ptr<const wasm::OwnedBatch>>> read_look_back(
    std::shared_ptr<const Topic> topic, LookBack wanted, TimestampMs now);

}  // namespace millrace::broker::detail

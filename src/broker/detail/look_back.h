#pragma once

#include <memory>
#include <string>
#include <vector>

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

/// A partition that is looked back on.
struct LookBackSource {
  std::shared_ptr<Partition> partition;
  Offset end = 0;          // what stands before it; committed
  bool pipeline = false;   // headers that are the host's are as its guests see them,
  std::string input = {};  // and this is in kInputHeader, if not empty
};
/// All that is committed of the topic.
std::vector<LookBackSource> look_back_sources(const Topic& topic);

/// The records of all sources together, oldest first by timestamp; of more than kRecordsMax or
/// kBytesMax the last. Those of aborted transactions are none. On a shard.
io::Task<Result<std::shared_ptr<const wasm::OwnedBatch>>> read_look_back(
    std::vector<LookBackSource> sources, LookBack wanted, TimestampMs now);

}  // namespace millrace::broker::detail

#pragma once

#include <string>

#include "connect/connectors.h"
#include "connect/detail/batches.h"
#include "connect/detail/source.h"

namespace millrace::connect {

// A position stands in the topic broker::kSourcePositionsTopic, which is compacted: a record for
// each of its parts, whose key is the source's id and the part's name.

/// The topic's partition; it is made when there is none. On a shard.
io::Task<Result<PartitionPtr>> open_positions(broker::Broker& broker);

/// What was committed for `source`. Waits for transactions under way, which may hold it back.
/// Errors: kCancelled when they take too long; those of reading.
io::Task<Result<Position>> read_position(PartitionPtr positions, std::string source);

std::string position_key(const std::string& source, const std::string& part);

}  // namespace millrace::connect

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "broker/broker.h"

namespace millrace::flow {

/// Reads from `from` on, at least one batch, on the partition's shard. Not from a shard.
Result<log::ReadResult> read_log(broker::Partition& partition, Offset from, size_t bytes);

/// Where in a view's changelog a record of another topic comes from: a copy that a crash has cut
/// short goes on behind the last of them. It stands in the record's header kPlaceHeader.
struct Place {
  Offset at = -1;    // where the epoch stands in the changelog; -1: nowhere
  size_t index = 0;  // which of what the epoch gives
};
inline constexpr std::string_view kPlaceHeader = "place";
std::string place_text(const Place& place);
/// That of the last record which has one; none when no record does.
Result<std::optional<Place>> last_place(broker::Partition& partition);

}  // namespace millrace::flow

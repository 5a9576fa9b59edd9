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
/// `owner`: the changelog's id, where several write to one topic; else empty.
std::string place_text(std::string_view owner, const Place& place);
/// That of the last record of the owner's; none when there is none, or none from `since` on.
Result<std::optional<Place>> last_place(broker::Partition& partition, std::string_view owner,
                                        TimestampMs since);

}  // namespace millrace::flow

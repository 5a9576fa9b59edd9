#pragma once

#include <string>

#include "broker/consumer_group.h"

namespace millrace::broker::detail {

PartitionSet intersection(const PartitionSet& a, const PartitionSet& b);
PartitionSet difference(const PartitionSet& a, const PartitionSet& b);
PartitionSet sum(const PartitionSet& a, const PartitionSet& b);
bool intersects(const PartitionSet& a, const PartitionSet& b);
bool is_subset(const PartitionSet& part, const PartitionSet& whole);

/// Sorts and joins what came from outside, so that it is a PartitionSet as its type says.
PartitionSet normal(PartitionSet set);

/// Partitions as text, sequences joined: "0-4,7".
std::string to_ranges(const std::vector<int32_t>& partitions);
/// Nullopt: not such a text, or partitions beyond what a topic can have.
std::optional<std::vector<int32_t>> from_ranges(std::string_view text);

}  // namespace millrace::broker::detail

#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/consumer_group.h"

namespace millrace::broker::detail {

/// What an assignor knows of one member.
struct AssignorMember {
  std::string_view id;
  std::optional<std::string_view> instance_id;
  std::vector<Uuid> topics;              // that it is subscribed to and that exist; sorted
  const PartitionSet* before = nullptr;  // its last target assignment
};

/// Divides the partitions of topics among members; a pure function. Gives one set for each of
/// `members`, in their order.
struct Assignor {
  std::string_view name;
  std::vector<PartitionSet> (*assign)(const std::vector<AssignorMember>& members,
                                      const std::map<Uuid, int32_t>& partition_counts);
};

/// "uniform": sizes differ by one at most where subscriptions allow it, and what a member has had
/// it keeps before all else. "range": each topic's partitions in contiguous ranges by the order of
/// members (static ones first, by instance id), so that topics of the same size are divided alike.
/// Source: KIP-848, server-side assignors.
const std::vector<Assignor>& assignors();
/// Null: none of this name.
const Assignor* find_assignor(std::string_view name);
inline constexpr std::string_view kDefaultAssignor = "uniform";

}  // namespace millrace::broker::detail

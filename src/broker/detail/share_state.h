#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "broker/detail/share_partition.h"

namespace millrace::broker::detail {

/// Share groups in the journal "__share_group_state" (docs/kafka.md, "Share groups"). A partition's
/// state is one snapshot and the updates after it. The topic is compacted, so each update since the
/// snapshot has a key of its own: its number, the slot. After kSlots updates the next snapshot has
/// the next epoch, and updates of another epoch than the snapshot's are void.
inline constexpr uint32_t kShareSlots = 64;

/// Key of a group itself.
std::string share_group_key(std::string_view group);
/// Key of a partition's snapshot (slot 0) or update (slots 1 to kShareSlots).
std::string share_state_key(std::string_view group, const SharePartitionId& id, uint32_t slot);

struct ShareStateKey {
  std::string group;
  std::optional<SharePartitionId> id;  // nullopt: the group itself
  uint32_t slot = 0;
};
/// Errors: kCorruptRecord.
Result<ShareStateKey> parse_share_key(std::string_view key);

struct ShareStateValue {
  uint64_t epoch = 0;
  ShareDelta delta;
};
/// Bytes: version 1; then as LEB128: epoch, start offset, count of ranges; a range: offsets from
/// the end of the one before (the first: from the start), length, state, deliveries.
std::string write_share_state(const ShareStateValue& value);
/// Errors: kCorruptRecord.
Result<ShareStateValue> parse_share_state(std::string_view bytes);

}  // namespace millrace::broker::detail

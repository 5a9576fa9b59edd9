#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "log/partition_log.h"
#include "log/record_batch.h"

namespace millrace::log::detail {

/// What the idempotent producers of a partition last appended: the last five batches of each, which
/// is as many as a client has in flight. Source: KIP-98, and the checks of Kafka's
/// ProducerAppendInfo.
class Producers {
 public:
  struct Batch {
    int32_t first_sequence = -1;
    int32_t last_sequence = -1;
    Offset base_offset = -1;
    Offset last_offset = -1;
  };
  struct State {
    int16_t epoch = -1;
    TimestampMs last_timestamp = -1;  // by the node's clock: replayed records may be old
    uint8_t count = 0;
    std::array<Batch, 5> recent;  // oldest first
    const Batch& last() const { return recent[count - 1]; }
  };
  /// States as they were before some batches, newest change last.
  using Undo = std::vector<std::pair<int64_t, std::optional<State>>>;

  /// Nothing: go on. A batch: `header` is a retry of it. Errors: kOutOfOrderSequence,
  /// kInvalidProducerEpoch.
  Result<std::optional<Batch>> check(const BatchHeader& header) const;
  /// Takes `header`, whose offsets are assigned, as appended at `now`.
  void apply(const BatchHeader& header, TimestampMs now, Undo* undo);
  void restore(const Undo& undo);
  /// Forgets those that appended nothing since `before`.
  void expire(TimestampMs before);

  std::vector<ProducerEntry> entries() const;
  void clear() { states_.clear(); }
  void encode(std::string& out) const;
  /// False when `bytes` is none of encode()'s. Takes what it reads off the front.
  bool decode(std::string_view& bytes);

 private:
  std::unordered_map<int64_t, State> states_;
};

}  // namespace millrace::log::detail

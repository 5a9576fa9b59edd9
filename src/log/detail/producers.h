#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "log/partition_log.h"
#include "log/record_batch.h"

namespace millrace::log::detail {

/// What the idempotent and transactional producers of a partition last appended: the last five
/// batches of each, which is as many as a client has in flight, and its open transaction. Source:
/// KIP-98, KIP-890, and the checks of Kafka's ProducerAppendInfo.
class Producers {
 public:
  /// 16 bytes, as a partition may know thousands of producers.
  struct Batch {
    int32_t last_sequence = -1;
    int32_t offset_delta = 0;  // of its last record
    Offset last_offset = -1;
    int32_t first_sequence() const;
    Offset base_offset() const { return last_offset - offset_delta; }
  };
  struct State {
    TimestampMs last_timestamp = -1;  // by the node's clock: replayed records may be old
    Offset transaction_first_offset = -1;
    int32_t coordinator_epoch = -1;
    /// Nothing of the producer is in the log, since its first append failed: what it sent behind it
    /// must not overtake that. The sequence to begin with; -1: the producer is known.
    int32_t awaited_sequence = -1;
    int16_t epoch = -1;
    uint8_t count = 0;
    std::array<Batch, 5> recent;  // oldest first
  };
  /// States as they were before some batches, newest change last.
  using Undo = std::vector<std::pair<int64_t, std::optional<State>>>;
  static constexpr Offset kNoneOpen = std::numeric_limits<Offset>::max();

  /// Nothing: go on. A batch: `header` is a retry of it. Errors: kOutOfOrderSequence,
  /// kInvalidProducerEpoch, kInvalidTransaction (no transaction's batch while one is open).
  Result<std::optional<Batch>> check(const BatchHeader& header) const;
  /// Errors: kInvalidProducerEpoch when the partition has seen a newer producer or coordinator.
  Result<> check(const TransactionMarker& marker) const;
  /// Takes `header`, whose offsets are assigned, as appended at `now`.
  void apply(const BatchHeader& header, TimestampMs now, Undo* undo);
  /// Takes `marker` as appended at `now`; gives the first offset of the transaction that it ended,
  /// -1 when none was open.
  Offset apply(const TransactionMarker& marker, TimestampMs now, Undo* undo);
  void restore(const Undo& undo);
  /// The append of `header` failed before it was checked.
  void note_failed(const BatchHeader& header, TimestampMs now);
  /// Forgets those that appended nothing since `before` and have no open transaction.
  void expire(TimestampMs before);

  /// The first offset of the earliest open transaction, or kNoneOpen.
  Offset first_open() const { return open_.empty() ? kNoneOpen : *open_.begin(); }
  size_t size() const { return states_.size(); }
  std::vector<ProducerEntry> entries() const;
  void clear();
  void encode(std::string& out) const;
  /// False when `bytes` is none of encode()'s. Takes what it reads off the front.
  bool decode(std::string_view& bytes);

 private:
  State& change(int64_t id, Undo* undo);
  void set_transaction(State& state, Offset first_offset);

  std::unordered_map<int64_t, State> states_;
  std::set<Offset> open_;  // first offsets; no two transactions begin with the same batch
};

}  // namespace millrace::log::detail

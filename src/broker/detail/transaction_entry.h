#pragma once

#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "broker/transactions.h"

namespace millrace::broker::detail {

/// What the coordinator knows of a transactional id, and how it changes: a step machine without
/// I/O. A change is made on a copy, which replaces the original once the journal has it. Source:
/// KIP-98, KIP-360, KIP-890 and the behaviour of Kafka's coordinator.
struct TransactionEntry {
  Producer producer;         // epoch -1: nobody was given the id yet
  int16_t last_epoch = -1;   // that a repeated request may still name; -1: none may
  int64_t previous_id = -1;  // the producer id before this one, likewise
  int64_t next_id = -1;      // with which the producer goes on after this transaction
  int32_t timeout_ms = 0;
  TransactionState state = TransactionState::kEmpty;
  bool bumped = false;  // the last end raised the epoch for its caller (transaction.version 2)
  TimestampMs start_time = -1;
  TimestampMs update_time = -1;
  std::set<TopicPartition> partitions;
  std::set<std::string> groups;

  bool operator==(const TransactionEntry&) const = default;

  /// The last epoch is the coordinator's, so that it can always fence who has the one before.
  static constexpr int16_t kEpochMax = std::numeric_limits<int16_t>::max();
  static bool exhausted(int16_t epoch) { return epoch >= kEpochMax - 1; }

  /// Who goes on: while a transaction is being ended, its producer may have heard of its next id
  /// already.
  Producer current() const { return next_id >= 0 ? Producer{next_id, 0} : producer; }
  bool preparing() const {
    return state == TransactionState::kPrepareCommit || state == TransactionState::kPrepareAbort;
  }
  bool open() const { return state == TransactionState::kOngoing; }
  bool past_timeout(TimestampMs now) const { return open() && start_time + timeout_ms < now; }
  bool past_use(TimestampMs now, int64_t expiration_ms) const {
    return !open() && !preparing() && update_time + expiration_ms <= now;
  }

  /// Whether a request of `who` is of this id's producer: kInvalidProducerIdMapping,
  /// kProducerFenced.
  Result<> check(const Producer& who, std::string_view id) const;
  /// Whether a producer that says it was `expected` may go on: kProducerFenced.
  Result<> check_expected(const Producer& expected, std::string_view id) const;

  /// Whether give() or end() need a producer id that nobody had.
  bool needs_id() const { return producer.id < 0 || exhausted(producer.epoch); }
  /// The id goes to a producer: the next epoch, or `fresh_id` with epoch 0. Only while no
  /// transaction is open or being ended, and after check_expected().
  void give(std::optional<Producer> expected, int32_t timeout, int64_t fresh_id, TimestampMs now);

  /// Begins a transaction if none is open.
  void begin(TimestampMs now);

  /// What a request to end the transaction means.
  enum class EndStep { kDecide, kAbortNothing, kRepeated, kBusy };
  /// Errors: those of check(), kInvalidTransaction.
  Result<EndStep> check_end(const Producer& who, bool commit, bool bump, std::string_view id) const;
  /// The outcome is decided by the producer.
  void decide(bool commit, bool bump, int64_t fresh_id, TimestampMs now);
  /// The coordinator aborts: nobody has the epoch of the markers. `by` may come back with the epoch
  /// it had, since it is its own request that aborts.
  void fence(const std::optional<Producer>& by, TimestampMs now);
  /// All markers are written.
  void complete(TimestampMs now);

  TransactionInfo info(std::string id) const;
  std::string encode() const;
  /// Errors: kCorruptRecord.
  static Result<TransactionEntry> decode(std::string_view text);
};

}  // namespace millrace::broker::detail

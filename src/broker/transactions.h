#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "broker/broker.h"
#include "broker/groups.h"

namespace millrace::broker {

namespace detail {
class OpenTransaction;
}

/// Who writes: an id, and an epoch that rises whenever a newer producer takes the id over (KIP-98),
/// and with each transaction (KIP-890).
struct Producer {
  int64_t id = -1;
  int16_t epoch = -1;
  bool operator==(const Producer&) const = default;
};

/// Kafka's states of a transactional id. Prepare*: the outcome is decided and durable, the markers
/// are being written. Dead: forgotten.
enum class TransactionState {
  kEmpty,
  kOngoing,
  kPrepareCommit,
  kPrepareAbort,
  kCompleteCommit,
  kCompleteAbort,
  kDead,
};
/// As Kafka says them: "Ongoing", "PrepareCommit", …
std::string_view name_of(TransactionState state);
std::optional<TransactionState> transaction_state_of(std::string_view name);

/// A transactional id at one moment.
struct TransactionInfo {
  std::string transactional_id;
  TransactionState state = TransactionState::kEmpty;
  Producer producer;
  int32_t timeout_ms = 0;
  TimestampMs start_time = -1;             // of the transaction; -1: there was none yet
  TimestampMs update_time = -1;            // of the last change
  std::vector<TopicPartition> partitions;  // of the open transaction, sorted
  std::vector<std::string> groups;         // whose offsets it commits, sorted
};

/// Which transactional ids list() gives; an empty list of wishes is no restriction.
struct TransactionFilter {
  std::vector<TransactionState> states = {};
  std::vector<int64_t> producer_ids = {};
  int64_t duration_ms = -1;  // only transactions that began longer ago; negative: all
  std::string pattern = {};  // a regular expression (RE2) that the whole id matches; empty: all
};

struct TransactionOptions {
  std::chrono::milliseconds timeout_max = std::chrono::minutes(15);
  std::chrono::milliseconds id_expiration = std::chrono::days(7);
  /// How often timeouts and expirations are looked for.
  std::chrono::milliseconds check_interval = std::chrono::seconds(1);
  /// How long a request waits for a change under way before it answers kConcurrentTransactions.
  std::chrono::milliseconds busy_wait = std::chrono::seconds(1);
  /// How long end() waits for markers before it answers that the outcome is decided.
  std::chrono::milliseconds marker_wait = std::chrono::seconds(5);
};

/// The transaction coordinator (KIP-98, KIP-890): which producer has a transactional id, what its
/// transaction holds, how it ended. The journal "__transaction_state" keeps it; docs/kafka.md tells
/// of the records. A decision is one durable record, after which markers go to every partition and
/// Groups::finish_transaction() is called, repeated until they succeed, across restarts too.
///
/// Lives on one home shard; all calls: any shard. Errors that all calls of a producer share:
/// kInvalidProducerIdMapping (no such transactional id, or it has another producer id),
/// kProducerFenced (another epoch), kConcurrentTransactions (the transaction before is being
/// ended), and the journal's.
class Transactions {
 public:
  /// Loads what the journal holds, finishes transactions that were being ended, and lets those that
  /// were open go on. Errors: those of Journal::load().
  static io::Task<Result<std::unique_ptr<Transactions>>> open(io::Runtime& runtime, io::Env& env,
                                                              Broker& broker, Groups& groups,
                                                              TransactionOptions options = {});
  virtual ~Transactions() = default;
  /// Stops timers; what is being ended goes on at the next open().
  virtual io::Task<void> close() = 0;

  /// Gives the transactional id to the caller: an epoch that fences every producer before it; an
  /// open transaction is aborted first. `expected`: what a producer that goes on after an error had
  /// (KIP-360). Errors: kInvalidArgument (empty id), kInvalidTransactionTimeout.
  virtual io::Task<Result<Producer>> init(std::string transactional_id, int32_t timeout_ms,
                                          std::optional<Producer> expected) = 0;

  /// Adds `partitions` to the transaction, and begins it if there is none; durable.
  virtual io::Task<Result<>> add_partitions(std::string transactional_id, Producer producer,
                                            std::vector<TopicPartition> partitions) = 0;
  /// Whether `partitions` are in the transaction; one outcome each: kTransactionAbortable.
  virtual io::Task<Result<std::vector<Result<>>>> verify_partitions(
      std::string transactional_id, Producer producer, std::vector<TopicPartition> partitions) = 0;
  /// Adds the group whose offsets the transaction commits; durable.
  virtual io::Task<Result<>> add_group(std::string transactional_id, Producer producer,
                                       std::string group) = 0;
  /// Groups::stage_offsets() as part of the transaction; `add`: begin it, and add the group, if
  /// need be (TxnOffsetCommit 5), else kInvalidTransaction when the group was not added.
  virtual io::Task<Result<std::vector<Result<>>>> stage_offsets(
      std::string transactional_id, Producer producer, std::string group, GroupCaller caller,
      std::vector<OffsetToCommit> offsets, bool add) = 0;

  /// Ends the transaction; gives the producer to go on as. `bump`: with the next epoch
  /// (transaction.version 2). The outcome is durable when it answers, and visible to readers unless
  /// that takes longer than marker_wait. The same call again has the same answer. Errors:
  /// kInvalidTransaction (no open transaction, or it ended the other way).
  virtual io::Task<Result<Producer>> end(std::string transactional_id, Producer producer,
                                         bool commit, bool bump) = 0;

  /// Leave to append to partitions as part of an open transaction, which does not end before the
  /// leave is given back. Any shard, but only the one where it was given.
  class Admission {
   public:
    Admission() = default;
    Admission(std::shared_ptr<detail::OpenTransaction> transaction, uint64_t awaited = 0);
    Admission(Admission&&) noexcept = default;
    Admission& operator=(Admission&& other) noexcept;
    ~Admission();

    /// The record (of the transaction's journal) that names its partitions, where recorded() has
    /// to wait for it; 0: it is durable.
    uint64_t awaited() const { return awaited_; }
    const std::shared_ptr<detail::OpenTransaction>& transaction() const { return transaction_; }

   private:
    std::shared_ptr<detail::OpenTransaction> transaction_;
    uint64_t awaited_ = 0;
  };
  struct Admitted {
    Admission admission;
    std::vector<Result<>> partitions;  // one each: kInvalidTransaction when not of the transaction
  };

  /// What admit() would give at once: `producer` has an open transaction that holds all of
  /// `partitions`. Any thread; no waiting, a hash look-up and a few comparisons.
  virtual std::optional<Admission> try_admit(Producer producer,
                                             std::span<Partition* const> partitions) = 0;
  /// Leave to append to `partitions`. `add`: begin the transaction and add them if need be
  /// (Produce 12, KIP-890); they are in the transaction at once and durably after recorded(), which
  /// may overlap the appends: open() finds what a crash between the two left. On the caller's
  /// shard, calls of one producer continue in order, each after the one before has gone on to its
  /// next await: appends that follow at once keep their order.
  virtual io::Task<Result<Admitted>> admit(std::string transactional_id, Producer producer,
                                           std::vector<std::shared_ptr<Partition>> partitions,
                                           bool add) = 0;
  /// Continues when what `admission` added is durable; before the append is answered.
  virtual io::Task<Result<>> recorded(Admission& admission) = 0;

  /// All transactional ids, in order. Errors: kInvalidRegex.
  virtual io::Task<Result<std::vector<TransactionInfo>>> list(TransactionFilter filter) = 0;
  /// Errors: kTransactionalIdNotFound.
  virtual io::Task<Result<TransactionInfo>> describe(std::string transactional_id) = 0;

  /// Aborts transactions that are past their timeout and forgets ids that nobody used for long.
  /// Done by itself every check_interval.
  virtual io::Task<void> expire() = 0;
};

}  // namespace millrace::broker

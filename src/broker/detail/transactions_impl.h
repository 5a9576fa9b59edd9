#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/io/gate.h"
#include "base/io/signal.h"
#include "broker/detail/transaction_admissions.h"
#include "broker/detail/transaction_entry.h"
#include "broker/journal.h"
#include "broker/transactions.h"

namespace millrace::broker::detail {

/// A transactional id on the coordinator's shard. What adds to its transaction changes `entry` at
/// once and waits for a write that holds it; what else changes it is alone (`busy`), works on a
/// copy, and replaces `entry` when the copy is written.
struct TransactionSlot {
  TransactionSlot(std::string name, io::Shard& home) : id(std::move(name)), changed(home) {}

  const std::string id;
  TransactionEntry entry;
  std::shared_ptr<OpenTransaction> open;  // while a transaction is open
  uint64_t version = 0;                   // of `entry`: rises with each addition
  uint64_t written = 0;                   // the version that is durable
  bool writing = false;
  bool busy = false;
  bool marking = false;  // decided, and not all markers are written
  bool gone = false;     // forgotten
  io::Signal changed;    // any of the above, or nobody is inside `open`
};

/// The coordinator on its home shard.
class TransactionsImpl final : public Transactions {
 public:
  using Slot = std::shared_ptr<TransactionSlot>;
  using Outcomes = std::vector<Result<>>;
  using Deadline = std::chrono::steady_clock::time_point;

  TransactionsImpl(io::Runtime& runtime, io::Env& env, Broker& broker, Groups& groups,
                   TransactionOptions options);

  /// On the home shard, before any other call.
  io::Task<Result<>> start();
  io::Shard& home() { return home_; }

  io::Task<void> close() override;
  io::Task<Result<Producer>> init(std::string id, int32_t timeout_ms,
                                  std::optional<Producer> expected) override;
  io::Task<Result<>> add_partitions(std::string id, Producer producer,
                                    std::vector<TopicPartition> partitions) override;
  io::Task<Result<Outcomes>> verify_partitions(std::string id, Producer producer,
                                               std::vector<TopicPartition> partitions) override;
  io::Task<Result<>> add_group(std::string id, Producer producer, std::string group) override;
  io::Task<Result<Outcomes>> stage_offsets(std::string id, Producer producer, std::string group,
                                           GroupCaller caller, std::vector<OffsetToCommit> offsets,
                                           bool add) override;
  io::Task<Result<Producer>> end(std::string id, Producer producer, bool commit,
                                 bool bump) override;
  std::optional<Admission> try_admit(Producer producer,
                                     std::span<Partition* const> partitions) override;
  io::Task<Result<Admitted>> admit(std::string id, Producer producer,
                                   std::vector<std::shared_ptr<Partition>> partitions,
                                   bool add) override;
  io::Task<Result<>> recorded(Admission& admission) override;
  io::Task<Result<std::vector<TransactionInfo>>> list(TransactionFilter filter) override;
  io::Task<Result<TransactionInfo>> describe(std::string id) override;
  io::Task<void> expire() override;

 private:
  /// Runs `work` on the home shard, inside the gate.
  template <typename T>
  io::Task<Result<T>> guarded(io::Task<Result<T>> work);
  template <typename T>
  io::Task<Result<T>> guarded_here(io::Task<Result<T>> work);

  // ---- transactions.cc: looking up, adding, admitting

  Result<Slot> find(const std::string& id) const;
  Slot find_or_make(const std::string& id);
  /// Waits until nobody is alone with the slot. Errors: kConcurrentTransactions at `deadline`.
  io::Task<Result<>> until_free(Slot slot, Deadline deadline);
  /// The slot of `producer`, free, to add to it.
  io::Task<Result<Slot>> to_add(std::string id, Producer producer);
  /// Begins the transaction if there is none; never awaits.
  void begin(const Slot& slot);
  /// Continues when `version` of the slot is durable, writing if nobody does.
  io::Task<Result<>> record(Slot slot, uint64_t version);
  io::Task<void> record_behind(Slot slot, uint64_t version);
  /// Writes `entry` for the slot, once no other write is under way.
  io::Task<Result<>> write(Slot slot, std::optional<TransactionEntry> entry);

  io::Task<Result<>> add_here(std::string id, Producer producer,
                              std::vector<TopicPartition> partitions,
                              std::optional<std::string> group);
  io::Task<Result<Outcomes>> verify_here(std::string id, Producer producer,
                                         std::vector<TopicPartition> partitions);
  io::Task<Result<Outcomes>> stage_here(std::string id, Producer producer, std::string group,
                                        GroupCaller caller, std::vector<OffsetToCommit> offsets,
                                        bool add);
  io::Task<Result<Admitted>> admit_here(std::string id, Producer producer,
                                        std::vector<std::shared_ptr<Partition>> partitions,
                                        bool add);
  io::Task<Result<>> recorded_here(std::shared_ptr<OpenTransaction> transaction, uint64_t version);
  io::Task<Result<std::vector<TransactionInfo>>> list_here(TransactionFilter filter);
  io::Task<Result<TransactionInfo>> describe_here(std::string id);
  io::Task<void> close_here();

  // ---- transaction_ending.cc: what is done alone

  /// `busy`, as long as it lives.
  class Alone;

  io::Task<Result<Producer>> init_here(std::string id, int32_t timeout_ms,
                                       std::optional<Producer> expected);
  io::Task<Result<Producer>> end_here(std::string id, Producer producer, bool commit, bool bump);
  io::Task<Result<>> expire_here();
  io::Task<void> expire_one(Slot slot);
  io::Task<void> keep_expiring();
  io::Task<Result<>> give(Slot slot, std::optional<Producer> expected, int32_t timeout_ms);
  /// How a transaction that is open ends: by its producer, or by us.
  struct Ending {
    bool commit = false;
    bool bump = false;
    bool fence = false;
    std::optional<Producer> by = {};  // whose own request fences
  };
  /// Makes the decision durable, and has finish() carry it out.
  io::Task<Result<>> decide(Slot slot, Ending ending);
  /// Waits until the markers of what was decided are written; false at `deadline`.
  io::Task<bool> until_marked(Slot slot, Deadline deadline);
  io::Task<Result<>> abort_nothing(Slot slot);
  io::Task<Result<int64_t>> fresh_id(const TransactionEntry& entry);
  /// Writes the markers of a decided transaction, and that it is complete; until it succeeds or the
  /// gate closes. Ends `busy`.
  io::Task<void> finish(Slot slot);
  io::Task<Result<>> mark_all(Slot slot, std::set<TopicPartition>& left);
  io::Task<void> mark(const TopicPartition& at, log::TransactionMarker marker, Result<>& out);

  // ---- transaction_recovery.cc: after a start

  void take(std::string_view key, std::optional<std::string_view> value, Result<>& out);
  /// Puts partitions in order whose open transaction the journal does not know: a crash came
  /// between a batch and the record that adds its partition.
  io::Task<Result<>> reconcile();
  io::Task<Result<>> reconcile(std::shared_ptr<Partition> partition, log::ProducerEntry producer);

  io::Shard& home_;
  io::Env& env_;
  Broker& broker_;
  Groups& groups_;
  const TransactionOptions options_;
  Metrics::Counter& committed_;
  Metrics::Counter& aborted_;
  Metrics::Counter& timed_out_;
  std::unique_ptr<Journal> journal_;
  std::map<std::string, Slot> slots_;
  OpenTransactions open_;                                // any thread
  std::vector<std::shared_ptr<AdmissionQueue>> queues_;  // by shard, each of that shard
  io::Gate gate_;
  io::Gate::OnClose wake_all_;
};

template <typename T>
io::Task<Result<T>> TransactionsImpl::guarded(io::Task<Result<T>> work) {
  return home_.call(guarded_here(std::move(work)));
}

template <typename T>
io::Task<Result<T>> TransactionsImpl::guarded_here(io::Task<Result<T>> work) {
  if (!gate_.try_enter()) co_return Error{ErrorCode::kShuttingDown, "the node is stopping"};
  auto result = co_await std::move(work);
  gate_.leave();
  co_return result;
}

}  // namespace millrace::broker::detail

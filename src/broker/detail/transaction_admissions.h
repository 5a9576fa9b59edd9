#pragma once

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/io/turn.h"
#include "broker/transactions.h"

namespace millrace::broker::detail {

/// An open transaction as produce requests meet it: which partitions it durably holds, and how many
/// requests are inside. The coordinator ends a transaction when nobody is inside, so that no batch
/// can land behind its marker. Any thread.
class OpenTransaction {
 public:
  /// `left` is called (on any thread) when the last one leaves a transaction that is ending.
  OpenTransaction(std::string transactional_id, Producer producer, std::function<void()> left)
      : transactional_id_(std::move(transactional_id)),
        producer_(producer),
        left_(std::move(left)) {}

  const std::string& transactional_id() const { return transactional_id_; }
  const Producer& producer() const { return producer_; }

  /// Goes inside when the transaction is not ending and durably holds all of `partitions`.
  bool try_enter(std::span<Partition* const> partitions);
  /// Goes inside; for the coordinator, which knows that the transaction is not ending.
  void enter();
  void leave();
  /// `partition` is in the transaction, durably once `version` is written.
  void add(std::shared_ptr<Partition> partition, uint64_t version);
  void written(uint64_t version);
  /// Lets nobody in from now on; gives how many are inside.
  size_t end();
  /// It goes on after all.
  void resume();

 private:
  const std::string transactional_id_;
  const Producer producer_;
  const std::function<void()> left_;
  std::mutex mutex_;
  bool ending_ = false;
  size_t inside_ = 0;
  struct Held {
    std::shared_ptr<Partition> partition;
    uint64_t version = 0;
  };
  std::vector<Held> partitions_;
  uint64_t written_ = 0;
};

/// The open transactions by producer id. Any thread: a look-up holds one of several locks for the
/// copy of a pointer.
class OpenTransactions {
 public:
  std::shared_ptr<OpenTransaction> find(int64_t producer_id) const;
  void put(std::shared_ptr<OpenTransaction> transaction);
  void erase(int64_t producer_id);

 private:
  struct Part {
    mutable std::shared_mutex mutex;
    std::unordered_map<int64_t, std::shared_ptr<OpenTransaction>> by_producer;
  };
  static constexpr size_t kParts = 16;
  const Part& part(int64_t id) const { return parts_[static_cast<size_t>(id) % kParts]; }
  Part& part(int64_t id) { return parts_[static_cast<size_t>(id) % kParts]; }

  std::array<Part, kParts> parts_;
};

/// Produce requests of one shard that must ask the coordinator, in line by producer: those that
/// come after one that asks ask too, so that a producer's batches keep their order.
class AdmissionQueue : public std::enable_shared_from_this<AdmissionQueue> {
 public:
  explicit AdmissionQueue(io::Shard& shard) : shard_(shard) {}

  bool waits(int64_t producer_id) const { return !lines_.empty() && lines_.contains(producer_id); }

  class Place;
  io::Task<std::shared_ptr<Place>> take(int64_t producer_id);
  /// Gives the place up once the caller has gone on to its next await.
  void leave_later(std::shared_ptr<Place> place);

 private:
  io::Shard& shard_;
  std::unordered_map<int64_t, std::weak_ptr<io::Turn>> lines_;
};

}  // namespace millrace::broker::detail

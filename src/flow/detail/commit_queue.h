#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/io/gate.h"
#include "broker/broker.h"

namespace millrace::flow {

/// Appends a view's epochs to its changelog, in order, while the lane goes on. What queues during
/// an fsync goes with the next one. A disk that refuses is tried again, with the same bytes: an
/// epoch that was computed is never lost and never skipped. Any thread that is not a shard's.
class CommitQueue : public std::enable_shared_from_this<CommitQueue> {
 public:
  /// `gate` belongs to the changelog's shard. `progressed` is called on that shard when epochs have
  /// become durable, or failed for ever.
  static std::shared_ptr<CommitQueue> make(std::shared_ptr<broker::Partition> changelog,
                                           io::Gate& gate, std::function<void()> progressed);

  /// `bytes`: one epoch's batches, `records` records.
  void push(std::string bytes, size_t records);

  /// An epoch that is on disk: where its records stand.
  struct Done {
    Offset from = 0;
    Offset until = 0;
  };
  /// The epochs that have become durable since the last call, in order.
  std::deque<Done> take_done();
  std::optional<Error> failure() const;
  /// Epochs, and their bytes, that are not durable yet.
  size_t waiting() const;
  size_t waiting_bytes() const;

  /// Writes what waits, without trying again what fails, and calls `progressed` no more. Returns
  /// when nothing is under way.
  void close();

 private:
  struct Epoch {
    std::string bytes;
    size_t records;
  };
  CommitQueue(std::shared_ptr<broker::Partition> changelog, io::Gate& gate,
              std::function<void()> progressed);
  static io::Task<void> drain(std::shared_ptr<CommitQueue> self);
  std::string gather(std::deque<Epoch>& taken);
  void finish(const Result<log::AppendResult>& appended, const std::deque<Epoch>& taken);
  bool give_up(const Error& error) const;

  const std::shared_ptr<broker::Partition> changelog_;
  io::Gate& gate_;

  mutable std::mutex mutex_;
  std::condition_variable idle_;
  std::function<void()> progressed_;
  std::deque<Epoch> queue_;
  std::deque<Done> done_;
  size_t waiting_ = 0;
  size_t waiting_bytes_ = 0;
  std::optional<Error> failure_;
  bool draining_ = false;
  bool closed_ = false;
};

}  // namespace millrace::flow

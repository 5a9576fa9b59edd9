#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/io/gate.h"
#include "base/io/signal.h"
#include "broker/broker.h"
#include "broker/detail/in_order.h"
#include "broker/detail/intake.h"
#include "log/record_batch.h"

namespace millrace::broker::detail {

/// What a topic counts, per batch; the same instruments for all of its partitions.
struct TopicCounters {
  TopicCounters(Metrics& metrics, const std::string& topic);
  /// Forgets a topic's numbers once it is dropped.
  static void remove(Metrics& metrics, const std::string& topic);

  Metrics::Counter& records_in;
  Metrics::Counter& bytes_in;
  Metrics::Counter& bytes_out;
  Metrics::Counter& appends_failed;
};

/// What all partitions of a node share. Any thread.
struct PartitionShared {
  io::Env& env;
  io::Runtime& runtime;
  std::atomic<ProduceCheck*> produce_check{nullptr};
  std::atomic<Transforms*> transforms{nullptr};
};

/// What a topic's definition means for a partition. Immutable.
struct PartitionRules {
  /// Errors: those of to_log_config().
  static Result<std::shared_ptr<const PartitionRules>> make(catalog::Object object);

  catalog::Object object;
  log::LogConfig log;
  bool check_records = false;  // on_error='reject', and there are columns to fit
  log::IntakeRules intake;
  std::shared_ptr<const TopicTransforms> transforms;  // null: none
  int64_t timestamp_before_ms_max = 0;
  int64_t timestamp_after_ms_max = 0;
};

/// A partition on its shard: a gate before the log, the numbers that other threads read, and those
/// who wait for the high watermark. Open it before use; close it before its end.
class PartitionImpl final : public Partition, public std::enable_shared_from_this<PartitionImpl> {
 public:
  PartitionImpl(std::shared_ptr<PartitionShared> shared, io::Shard& shard,
                std::shared_ptr<const PartitionRules> rules, int32_t index);
  ~PartitionImpl() override;

  // For the broker alone. Each crosses to the shard by itself.

  io::Task<Result<>> open(std::string path);
  /// Ends waits, lets calls inside finish, closes the log; later calls fail with `why`. Idempotent.
  io::Task<Result<>> close(Error why);
  io::Task<Result<>> enforce_retention();
  /// Gives up when `until`, a gate of the partition's shard, or the partition closes.
  io::Task<Result<>> compact(const io::Gate& until);
  io::Task<void> apply(std::shared_ptr<const PartitionRules> rules);

  /// What its folder is named after; its topic's name, but of a changelog that replaced another.
  const std::string& log_name() const { return log_name_; }

  const std::string& topic() const override { return topic_; }
  int32_t index() const override { return index_; }
  io::Shard& shard() override { return shard_; }

  io::Task<Result<log::AppendResult>> append(OwnedBytes batches, log::Ack ack) override;
  io::Task<Result<log::ReadResult>> read(Offset from, size_t bytes_max,
                                         log::Isolation isolation) override;
  io::Task<Result<log::ReadResult>> fetch(Offset from, size_t bytes_max,
                                          log::Isolation isolation) override;
  io::Task<Result<log::AppendResult>> append_marker(log::TransactionMarker marker) override;
  io::Task<Result<std::vector<log::ProducerEntry>>> producers() override;
  io::Task<bool> wait_past(Offset offset, std::chrono::steady_clock::time_point deadline,
                           log::Isolation isolation) override;
  io::Task<Result<log::TimeOffset>> offset_for_time(TimestampMs timestamp) override;
  io::Task<Result<log::TimeOffset>> max_timestamp() override;
  io::Task<Result<>> delete_records(Offset offset) override;
  io::Task<Result<>> truncate_to(Offset offset) override;
  io::Task<Result<>> hold(std::string who, std::optional<Offset> from) override;
  void on_advance(std::string who, std::function<void()> f) override;
  std::shared_ptr<const TopicTransforms> fetch_transforms() const override {
    return on_fetch_.load(std::memory_order_acquire) ? transforms_.load() : nullptr;
  }
  bool closed() const override { return closed_.load(std::memory_order_acquire); }

  Offset start_offset() const override { return start_offset_.load(std::memory_order_acquire); }
  Offset high_watermark() const override { return high_watermark_.load(std::memory_order_acquire); }
  Offset last_stable_offset() const override {
    return last_stable_offset_.load(std::memory_order_acquire);
  }
  uint64_t size_bytes() const override { return size_bytes_.load(std::memory_order_relaxed); }

 private:
  /// Runs `work` on the shard, inside the gate.
  template <typename T>
  io::Task<Result<T>> guarded(io::Task<Result<T>> work);
  io::Task<Result<log::AppendResult>> append_valid(OwnedBytes batches, log::Ack ack);
  io::Task<Result<log::AppendResult>> append_taken_in(OwnedBytes batches, log::Ack ack,
                                                      std::shared_ptr<Intake> intake);
  io::Task<Result<log::AppendResult>> append_transformed(
      OwnedBytes batches, log::Ack ack, std::shared_ptr<const TopicTransforms> transforms);
  io::Task<Result<log::AppendResult>> append_here(OwnedBytes batches, log::Ack ack,
                                                  std::vector<log::BatchHeader> headers);
  io::Task<Result<log::ReadResult>> read_here(Offset from, size_t bytes_max,
                                              log::Isolation isolation);
  io::Task<Result<log::ReadResult>> fetch_here(Offset from, size_t bytes_max,
                                               log::Isolation isolation);
  io::Task<Result<log::AppendResult>> append_marker_here(log::TransactionMarker marker);
  io::Task<Result<std::vector<log::ProducerEntry>>> producers_here();
  io::Task<bool> wait_here(Offset offset, std::chrono::steady_clock::time_point deadline,
                           log::Isolation isolation);
  /// How far a reader may read.
  Offset readable(log::Isolation isolation) const {
    return isolation == log::Isolation::kCommitted ? last_stable_offset() : high_watermark();
  }
  io::Task<Result<log::TimeOffset>> offset_for_time_here(TimestampMs timestamp);
  io::Task<Result<log::TimeOffset>> max_timestamp_here();
  io::Task<Result<>> delete_records_here(Offset offset);
  io::Task<Result<>> truncate_here(Offset offset);
  io::Task<Result<>> hold_here(std::string who, std::optional<Offset> from);
  io::Task<Result<>> retention_here();
  io::Task<Result<>> compact_here(const io::Gate& until);
  void set_intake();
  void set_transforms();
  io::Task<Result<>> open_here(std::string path);
  io::Task<Result<>> close_here(Error why);
  io::Task<void> apply_here(std::shared_ptr<const PartitionRules> rules);
  io::Task<void> follow();

  Result<> check(const std::vector<log::BatchHeader>& headers) const;
  /// Copies the log's numbers to where other threads read them, and wakes who waits.
  void mirror();

  const std::shared_ptr<PartitionShared> shared_;
  io::Shard& shard_;
  const std::string topic_;
  const std::string log_name_;
  const int32_t index_;
  const TopicCounters counters_;

  // Any thread.
  std::atomic<Offset> start_offset_{0};
  std::atomic<Offset> high_watermark_{0};
  std::atomic<Offset> last_stable_offset_{0};
  std::atomic<uint64_t> size_bytes_{0};
  std::atomic<bool> closed_{false};
  std::atomic<bool> check_records_{false};  // of rules_
  std::atomic<bool> takes_in_{false};       // there is an intake
  std::atomic<std::shared_ptr<Intake>> intake_;
  std::atomic<std::shared_ptr<const TopicTransforms>> transforms_;  // of rules_
  std::atomic<bool> on_produce_{false};  // some of them are for records that come
  std::atomic<bool> on_fetch_{false};    // or that go
  // Of batches under way, by their producer's shard; none before the first transform on produce.
  std::vector<std::unique_ptr<InOrder>> orders_;

  // The shard's.
  std::shared_ptr<const PartitionRules> rules_;
  std::unique_ptr<log::PartitionLog> log_;  // null before open and after close
  io::Gate gate_;
  io::Signal advanced_;
  io::Gate::OnClose wake_all_;
  std::map<std::string, std::function<void()>> listeners_;
  bool following_ = false;
  Error why_closed_;
};

}  // namespace millrace::broker::detail

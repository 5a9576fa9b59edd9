#pragma once

#include <deque>
#include <mutex>

#include "base/io/signal.h"
#include "broker/broker.h"
#include "log/record_batch.h"

namespace millrace::kafka {

/// A broker in memory, for tests: partitions are lists of batches. Appends can be held back until
/// released. Made for one shard and for tests that set it up before traffic.
class FakePartition final : public broker::Partition {
 public:
  FakePartition(std::string topic, int32_t index, io::Shard& shard)
      : topic_(std::move(topic)), index_(index), shard_(shard), changed_(shard), released_(shard) {}

  const std::string& topic() const override { return topic_; }
  int32_t index() const override { return index_; }
  io::Shard& shard() override { return shard_; }

  io::Task<Result<log::AppendResult>> append(OwnedBytes batches, log::Ack ack) override {
    return shard_.call(append_here(std::move(batches).take(), ack));
  }
  io::Task<Result<log::ReadResult>> read(Offset from, size_t bytes_max, log::Isolation) override {
    return shard_.call(read_here(from, bytes_max));
  }
  io::Task<bool> wait_past(Offset offset, std::chrono::steady_clock::time_point until,
                           log::Isolation) override {
    return shard_.call(wait_here(offset, until));
  }
  io::Task<Result<log::TimeOffset>> offset_for_time(TimestampMs timestamp) override {
    for (const auto& batch : batches_) {
      const auto header = *log::parse_batch_header(batch);
      if (header.max_timestamp >= timestamp) {
        co_return log::TimeOffset{header.base_offset, header.base_timestamp};
      }
    }
    co_return log::TimeOffset{};
  }
  io::Task<Result<log::TimeOffset>> max_timestamp() override {
    log::TimeOffset best;
    for (const auto& batch : batches_) {
      const auto header = *log::parse_batch_header(batch);
      if (header.max_timestamp > best.timestamp)
        best = {header.last_offset(), header.max_timestamp};
    }
    co_return best;
  }
  io::Task<Result<>> delete_records(Offset offset) override {
    start_ = offset;
    co_return Result<>();
  }
  io::Task<Result<>> truncate_to(Offset) override { co_return Result<>(); }
  io::Task<Result<>> hold(std::string, std::optional<Offset>) override { co_return Result<>(); }

  io::Task<Result<log::AppendResult>> append_marker(log::TransactionMarker) override {
    co_return Error{ErrorCode::kNotSupported, "no transactions"};
  }
  io::Task<Result<std::vector<log::ProducerEntry>>> producers() override {
    co_return std::vector<log::ProducerEntry>();
  }

  void on_advance(std::string who, std::function<void()> f) override {
    shard_.post([this, who = std::move(who), f = std::move(f)] {
      if (!f) {
        listeners_.erase(who);
        return;
      }
      listeners_[who] = f;
      f();
    });
  }

  Offset start_offset() const override { return start_; }
  Offset high_watermark() const override { return end_; }
  Offset last_stable_offset() const override { return end_; }
  uint64_t size_bytes() const override { return 0; }

  // What tests steer, and see.
  std::atomic<bool> held = false;    // appends wait until release()
  std::atomic<int> appending = 0;    // appends begun and not answered
  std::atomic<bool> broken = false;  // appends fail with kIo
  void release() {
    held = false;
    shard_.post([this] { released_.notify_all(); });
  }

 private:
  io::Task<Result<log::AppendResult>> append_here(std::string bytes, log::Ack) {
    ++appending;
    const auto far = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (held) co_await released_.wait_until(far);
    --appending;
    if (broken) co_return Error{ErrorCode::kIo, "the disk is on fire"};
    MR_CO_TRY(auto headers, log::validate_batches(bytes, false));
    log::AppendResult result{.base_offset = end_};
    std::string_view rest = bytes;
    Offset end = end_;
    for (const auto& header : headers) {
      std::string batch(rest.substr(0, header.total_bytes()));
      rest.remove_prefix(header.total_bytes());
      log::patch_batch(batch.data(), end, 0, std::nullopt);
      batches_.push_back(std::move(batch));
      end += header.last_offset_delta + 1;
    }
    end_ = end;
    result.next_offset = end;
    changed_.notify_all();
    for (const auto& [who, f] : listeners_) f();
    co_return result;
  }
  io::Task<Result<log::ReadResult>> read_here(Offset from, size_t bytes_max) {
    if (from < start_ || from > end_) co_return Error{ErrorCode::kOffsetOutOfRange, "no"};
    log::ReadResult result;
    result.next_offset = from;
    result.high_watermark = end_;
    result.start_offset = start_;
    for (const auto& batch : batches_) {
      const auto header = *log::parse_batch_header(batch);
      if (header.last_offset() < from) continue;
      if (!result.batches.empty() && result.batches.size() + batch.size() > bytes_max) break;
      result.batches += batch;
      result.next_offset = header.last_offset() + 1;
    }
    co_return result;
  }
  io::Task<bool> wait_here(Offset offset, std::chrono::steady_clock::time_point until) {
    while (end_ <= offset) {
      if (!co_await changed_.wait_until(until)) co_return end_ > offset;
    }
    co_return true;
  }

  std::string topic_;
  int32_t index_;
  io::Shard& shard_;
  io::Signal changed_;
  io::Signal released_;
  std::map<std::string, std::function<void()>> listeners_;
  std::deque<std::string> batches_;
  std::atomic<Offset> start_ = 0;
  std::atomic<Offset> end_ = 0;
};

class FakeBroker final : public broker::Broker {
 public:
  explicit FakeBroker(io::Runtime& runtime) : runtime_(runtime) { options_.path = "/node/log"; }

  std::shared_ptr<const broker::Topic> find(std::string_view name) const override {
    std::lock_guard lock(mutex_);
    auto at = topics_.find(std::string(name));
    return at == topics_.end() ? nullptr : at->second;
  }
  std::shared_ptr<const broker::Topic> find(const Uuid& id) const override {
    std::lock_guard lock(mutex_);
    for (const auto& [name, topic] : topics_) {
      if (topic->object.id == id) return topic;
    }
    return nullptr;
  }
  std::vector<std::shared_ptr<const broker::Topic>> list() const override {
    std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<const broker::Topic>> all;
    for (const auto& [name, topic] : topics_) all.push_back(topic);
    return all;
  }
  io::Task<Result<std::shared_ptr<const broker::Topic>>> create(catalog::Object object,
                                                                bool replace,
                                                                bool validate_only) override {
    std::lock_guard lock(mutex_);
    MR_CO_TRY(broker::to_log_config(object.options));
    auto topic = std::make_shared<broker::Topic>();
    auto old = topics_.find(object.name);
    if (old != topics_.end() && !replace) {
      co_return Error{ErrorCode::kDuplicateObject, "the name is taken"};
    }
    object.id = old == topics_.end() ? Uuid::random() : old->second->object.id;
    topic->object = object;
    for (int32_t i = 0; i < object.partitions; ++i) {
      topic->partitions.push_back(std::make_shared<FakePartition>(
          object.name, i, runtime_.shard_of(static_cast<uint64_t>(i))));
    }
    if (!validate_only) topics_[object.name] = topic;
    co_return std::shared_ptr<const broker::Topic>(std::move(topic));
  }
  io::Task<Result<>> drop(std::string name) override {
    std::lock_guard lock(mutex_);
    if (topics_.erase(name) == 0) co_return Error{ErrorCode::kUndefinedObject, "no such topic"};
    co_return Result<>();
  }
  io::Task<Result<int64_t>> next_producer_id() override { co_return next_producer_id_++; }
  const Options& options() const override { return options_; }
  void set_produce_check(broker::ProduceCheck*) override {}
  io::Task<Result<>> close() override { co_return Result<>(); }

  FakePartition& partition(std::string_view topic, size_t index = 0) {
    return static_cast<FakePartition&>(*find(topic)->partitions.at(index));
  }

 private:
  io::Runtime& runtime_;
  Options options_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const broker::Topic>> topics_;
  std::atomic<int64_t> next_producer_id_ = 1000;
};

}  // namespace millrace::kafka

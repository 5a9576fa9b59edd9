#include "broker/detail/share_queue.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/logging.h"
#include "broker/dead_letter.h"
#include "broker/detail/share_batches.h"
#include "broker/detail/share_state.h"
#include "broker/transforms.h"

namespace millrace::broker::detail {

namespace {

constexpr size_t kReadBytesMin = 16u << 10;
constexpr size_t kReadBytesMax = 1u << 20;
constexpr int kReadsMax = 64;  // of one fetch: what is available may lie far apart
constexpr size_t kBuriedAtOnce = 1000;

Metrics::Counter& acknowledged_counter(Metrics& metrics, const char* type) {
  return metrics.counter("millrace_broker_share_acknowledged_total",
                         "Records that consumers of share groups acknowledged.", {{"type", type}});
}

}  // namespace

ShareCounters::ShareCounters(Metrics& metrics)
    : acquired_(metrics.counter("millrace_broker_share_acquired_total",
                                "Records given to consumers of share groups.")),
      redelivered_(metrics.counter("millrace_broker_share_redelivered_total",
                                   "Those of them that had been given before.")),
      accepted_(acknowledged_counter(metrics, "accept")),
      released_(acknowledged_counter(metrics, "release")),
      rejected_(acknowledged_counter(metrics, "reject")) {}

void ShareCounters::acquired(const ShareAcquired& range) {
  const auto count = static_cast<double>(range.last - range.first + 1);
  acquired_.add(count);
  if (range.delivery_count > 1) redelivered_.add(count);
}

void ShareCounters::acknowledged(const ShareAcknowledgement& told) {
  using Type = ShareAcknowledgement::Type;
  const auto count = [&](Type type) {
    const auto those = std::ranges::count(told.types, static_cast<int8_t>(type));
    return told.types.size() > 1 ? static_cast<double>(those)
                                 : static_cast<double>(those * (told.last - told.first + 1));
  };
  accepted_.add(count(Type::kAccept));
  released_.add(count(Type::kRelease));
  rejected_.add(count(Type::kReject));
}

ShareQueue::ShareQueue(ShareShared& shared, io::Shard& home, std::string group, SharePartitionId id,
                       Offset start)
    : shared_(shared),
      home_(home),
      group_(std::move(group)),
      id_(id),
      records_(start),
      turn_(home),
      burying_(home) {}

ShareLimits ShareQueue::limits() const {
  const auto& configs = shared_.configs;
  ShareLimits limits;
  limits.deliveries = static_cast<int32_t>(configs.integer(group_, "share.delivery.count.limit"));
  limits.in_flight = configs.integer(group_, "share.partition.max.record.locks");
  limits.letters = letters_;
  return limits;
}

bool ShareQueue::committed() const {
  return shared_.configs.text(group_, "share.isolation.level") == "read_committed";
}

Offset ShareQueue::end_of_log() const {
  return committed() ? partition_->last_stable_offset() : partition_->high_watermark();
}

// ---- the partition

Result<> ShareQueue::attach() {
  const auto topic = shared_.broker.find(id_.topic);
  if (!topic) {
    detach();
    return Error{ErrorCode::kUnknownTopicId,
                 fmt::format("there is no topic with id {}", id_.topic.to_string())};
  }
  if (topic == topic_) return {};
  if (id_.partition < 0 || static_cast<size_t>(id_.partition) >= topic->partitions.size())
    return Error{ErrorCode::kUnknownPartition, fmt::format("topic \"{}\" has no partition {}",
                                                           topic->object.name, id_.partition)};
  topic_ = topic;
  const auto options = effective_options(topic->object);
  const auto is = [&](const char* option, std::string_view value) {
    const auto at = options.find(option);
    return at != options.end() && at->second == value;
  };
  delayed_ = is("delayed.delivery", "true");
  letters_ = is("on_error", "dead_letter") && !is_dead_letter_topic(topic->object.name) &&
             !is_internal_topic(topic->object.name);
  const auto& partition = topic->partitions[static_cast<size_t>(id_.partition)];
  if (partition == partition_) return {};
  partition_ = partition;
  partition_->on_advance("share/" + group_,
                         [weak = weak_from_this(), awaited = awaited_, &home = home_] {
                           // Pairs with wait(): either it sees the new mark, or this sees that it
                           // waits.
                           std::atomic_thread_fence(std::memory_order_seq_cst);
                           if (!awaited->exchange(false)) return;
                           home.post([weak] {
                             if (const auto queue = weak.lock()) queue->wake();
                           });
                         });
  return {};
}

void ShareQueue::detach() {
  if (partition_) partition_->on_advance("share/" + group_, nullptr);
  partition_.reset();
  topic_.reset();
}

io::Task<Result<Offset>> ShareQueue::first_offset() {
  const auto reset = shared_.configs.text(group_, "share.auto.offset.reset");
  if (reset == "earliest") co_return partition_->start_offset();
  constexpr std::string_view kByDuration = "by_duration:";
  if (reset.starts_with(kByDuration)) {
    if (const auto ms = parse_duration(std::string_view(reset).substr(kByDuration.size()))) {
      const auto partition = partition_;
      MR_CO_TRY(const auto found, co_await partition->offset_for_time(shared_.env.now_ms() - *ms));
      co_return found.offset >= 0 ? found.offset : partition->high_watermark();
    }
  }
  co_return partition_->high_watermark();
}

// ---- records

/// A record that a transform leaves out could be acknowledged by nobody.
Result<> ShareQueue::check_transforms(std::string_view user) const {
  const auto transforms = partition_ ? partition_->fetch_transforms() : nullptr;
  if (!transforms || transforms->steps(catalog::Transform::Place::kFetch, group_, user).empty())
    return {};
  return Error{ErrorCode::kNotAllowed,
               fmt::format("topic \"{}\" has transforms on fetch, which share groups do not go "
                           "through: group \"{}\", as user {}, cannot read it",
                           transforms->topic(), group_, user)};
}

io::Task<Result<>> ShareQueue::acquire(SharePartition::Acquire how, std::string user,
                                       size_t bytes_max, ShareFetched::Part& part) {
  const auto turn = co_await turn_.take();
  MR_CO_TRY(attach());
  MR_CO_TRY(check_transforms(user));
  const bool committed = this->committed();
  const auto limits = this->limits();
  for (int reads = 0; reads < kReadsMax && how.records_max > 0; ++reads) {
    const auto partition = partition_;
    if (!partition) break;
    how.now = shared_.env.now_ms();
    records_.log_start(partition->start_offset());
    records_.tick(how.now, limits);
    const auto from = records_.next_fetch(limits);
    const size_t left = bytes_max - std::min(bytes_max, part.batches.size());
    if (!from || *from >= end_of_log() || left == 0) break;
    const size_t wanted = static_cast<size_t>(how.records_max) * record_bytes_;
    auto read = co_await partition->read(
        *from, std::min(left, std::clamp(wanted, kReadBytesMin, kReadBytesMax)),
        committed ? log::Isolation::kCommitted : log::Isolation::kUncommitted);
    if (!read) {
      // Retention was faster: the next turn begins where the log does.
      if (read.error().code == ErrorCode::kOffsetOutOfRange && reads + 1 < kReadsMax) continue;
      if (part.acquired.empty()) co_return std::move(read).error();
      break;
    }
    if (read->batches.empty()) break;
    MR_CO_TRY(auto spans, share_spans(*read, *from, committed, delayed_));
    record_bytes_ = std::max<size_t>(1, read->batches.size() / static_cast<size_t>(std::max<Offset>(
                                                                   1, read->next_offset - *from)));
    const auto acquired = records_.acquire(how, spans, limits);
    for (const auto& range : acquired) {
      shared_.counters.acquired(range);
      how.records_max -= range.last - range.first + 1;
      part.acquired.push_back(range);
    }
    if (!acquired.empty()) part.batches += taken_batches(std::move(read->batches), spans);
    if (acquired.empty() && records_.next_fetch(limits) == from) break;
  }
  co_return Result<>();
}

bool ShareQueue::tick() {
  if (partition_) records_.log_start(partition_->start_offset());
  return records_.tick(shared_.env.now_ms(), limits());
}

int64_t ShareQueue::lag() const {
  if (!partition_) return -1;
  const Offset start = std::max(records_.start(), partition_->start_offset());
  return std::max<int64_t>(0, partition_->high_watermark() - start - records_.done_count());
}

// ---- the dead

io::Task<Result<>> ShareQueue::bury_range(ShareRange range, std::shared_ptr<Partition> letters) {
  const auto topic = topic_;
  const auto partition = partition_;
  Offset from = range.first;
  while (from <= range.last) {
    MR_CO_TRY(const auto read, co_await partition->read(from, kReadBytesMax));
    if (read.batches.empty() || read.next_offset <= from) break;
    log::BatchBuilder batch;
    const bool spent = range.deliveries >= limits().deliveries;
    const std::string reason =
        spent ? fmt::format("delivered {} times and never accepted", range.deliveries)
              : "rejected by a consumer";
    const DeadLetter letter{reason, topic->object.name, id_.partition, group_, range.deliveries};
    const TimestampMs now = shared_.env.now_ms();
    MR_CO_TRY(log::for_each_record(read.batches, true, [&](const log::RecordView& record) {
      if (record.offset < from || record.offset > range.last) return;
      add_dead_letter(batch, now, letter, record);
    }));
    if (batch.count() > 0) {
      auto bytes = batch.finish();
      MR_CO_TRY(co_await letters->append(std::move(bytes), log::Ack::kDurable));
    }
    const Offset until = std::min(range.last, read.next_offset - 1);
    records_.archive(from, until);
    from = until + 1;
  }
  records_.archive(from, range.last);  // what is not in the log any more
  co_return Result<>();
}

io::Task<Result<>> ShareQueue::bury() {
  const auto turn = co_await burying_.take();
  while (topic_ && partition_) {
    const auto dying = records_.dying(kBuriedAtOnce);
    if (dying.empty()) co_return Result<>();
    const auto topic = topic_;
    MR_CO_TRY(const auto letters, co_await open_dead_letters(shared_.broker, topic));
    for (const auto& range : dying) MR_CO_TRY(co_await bury_range(range, letters));
  }
  co_return Result<>();
}

// ---- the journal

std::vector<Journal::Entry> ShareQueue::take_changes() {
  std::vector<Journal::Entry> entries;
  if (!records_.has_changes() && !rewrite_) return entries;
  if (rewrite_ || slot_ == kShareSlots) {
    ++epoch_;
    slot_ = 0;
    rewrite_ = false;
    entries.push_back(
        {share_state_key(group_, id_, 0), write_share_state({epoch_, records_.snapshot()})});
  } else {
    slots_used_ = std::max(slots_used_, ++slot_);
    entries.push_back({share_state_key(group_, id_, slot_),
                       write_share_state({epoch_, records_.take_changes()})});
  }
  return entries;
}

void ShareQueue::loaded(uint32_t slot, std::optional<std::string_view> bytes) {
  slots_used_ = std::max(slots_used_, slot);
  if (bytes) {
    loaded_[slot] = *bytes;
  } else {
    loaded_.erase(slot);
  }
}

bool ShareQueue::restore() {
  if (!loaded_.contains(0)) return false;
  for (const auto& [slot, bytes] : loaded_) {
    auto value = parse_share_state(bytes);
    if (!value) {
      logging::error("the state of a share group cannot be read",
                     {{"group", group_}, {"reason", value.error().text}});
      continue;
    }
    if (slot == 0) {
      epoch_ = value->epoch;
      records_ = SharePartition(value->delta.start);
    } else if (value->epoch != epoch_) {
      continue;
    } else {
      slot_ = slot;
    }
    records_.apply(value->delta);
  }
  loaded_.clear();
  rewrite_ = false;
  return true;
}

std::vector<Journal::Entry> ShareQueue::tombstones() const {
  std::vector<Journal::Entry> entries;
  for (uint32_t slot = 0; slot <= slots_used_; ++slot)
    entries.push_back({share_state_key(group_, id_, slot), std::nullopt});
  return entries;
}

void ShareQueue::reset(Offset start) {
  records_ = SharePartition(start);
  rewrite_ = true;
}

// ---- those who wait

void ShareQueue::wait(std::shared_ptr<ShareWaiter> waiter) {
  std::erase_if(waiters_, [](const auto& other) { return other->over(); });
  // One that waits for several partitions may be here from its last turn.
  if (std::ranges::find(waiters_, waiter) == waiters_.end()) waiters_.push_back(std::move(waiter));
  awaited_->store(true);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  wake_if_news();  // what came since acquire() looked found no one waiting
}

void ShareQueue::wake_if_news() {
  if (!partition_ || waiters_.empty()) return;
  const auto from = records_.next_fetch(limits());
  if (from && *from < end_of_log()) wake();
}

void ShareQueue::wake() {
  bool woken = false;
  while (!woken && !waiters_.empty()) {
    woken = waiters_.front()->wake();
    waiters_.pop_front();
  }
  awaited_->store(!waiters_.empty());
}

void ShareQueue::wake_all() {
  while (!waiters_.empty()) wake();
}

}  // namespace millrace::broker::detail

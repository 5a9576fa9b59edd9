#include "broker/detail/partition_impl.h"

#include <fmt/format.h>

#include <charconv>

#include "broker/transforms.h"
#include "catalog/replacement.h"
#include "log/remake.h"

namespace millrace::broker::detail {

namespace {

constexpr auto kFollowStep = std::chrono::milliseconds(50);

constexpr const char* kRecordsIn = "millrace_broker_records_in_total";
constexpr const char* kBytesIn = "millrace_broker_bytes_in_total";
constexpr const char* kBytesOut = "millrace_broker_bytes_out_total";
constexpr const char* kAppendsFailed = "millrace_broker_appends_failed_total";

int64_t integer(const std::map<std::string, std::string>& options, const std::string& name) {
  const std::string& text = options.at(name);
  int64_t n = 0;
  std::from_chars(text.data(), text.data() + text.size(), n);
  return n;
}

}  // namespace

TopicCounters::TopicCounters(Metrics& metrics, const std::string& topic)
    : records_in(metrics.counter(kRecordsIn, "Records appended.", {{"topic", topic}})),
      bytes_in(metrics.counter(kBytesIn, "Bytes of batches appended.", {{"topic", topic}})),
      bytes_out(metrics.counter(kBytesOut, "Bytes of batches read.", {{"topic", topic}})),
      appends_failed(metrics.counter(kAppendsFailed, "Appends that were refused or failed.",
                                     {{"topic", topic}})) {}

void TopicCounters::remove(Metrics& metrics, const std::string& topic) {
  for (const char* name : {kRecordsIn, kBytesIn, kBytesOut, kAppendsFailed}) {
    metrics.remove(name, {{"topic", topic}});
  }
}

Result<std::shared_ptr<const PartitionRules>> PartitionRules::make(catalog::Object object) {
  const auto options = effective_options(object);
  auto rules = std::make_shared<PartitionRules>();
  MR_TRY(rules->log, to_log_config(options));
  rules->check_records = object.kind == catalog::Kind::kTopic && !object.columns.empty() &&
                         options.at("on_error") == "reject";
  // Only clients' records need a key: a changelog holds its epochs in records without.
  const bool keys_required = object.kind == catalog::Kind::kTopic && rules->log.cleanup_compact;
  rules->intake = log::intake_rules(rules->log, keys_required);
  rules->timestamp_before_ms_max = integer(options, "message.timestamp.before.max.ms");
  rules->timestamp_after_ms_max = integer(options, "message.timestamp.after.max.ms");
  if (object.kind == catalog::Kind::kTopic) rules->transforms = TopicTransforms::of(object);
  rules->object = std::move(object);
  return std::shared_ptr<const PartitionRules>(std::move(rules));
}

PartitionImpl::PartitionImpl(std::shared_ptr<PartitionShared> shared, io::Shard& shard,
                             std::shared_ptr<const PartitionRules> rules, int32_t index)
    : shared_(std::move(shared)),
      shard_(shard),
      topic_(catalog::as_stated(rules->object).name),
      log_name_(catalog::log_name(rules->object)),
      index_(index),
      counters_(shared_->env.metrics(), topic_),
      check_records_(rules->check_records),
      rules_(std::move(rules)),
      advanced_(shard),
      wake_all_(gate_, [this] { advanced_.notify_all(); }),
      why_closed_{ErrorCode::kShuttingDown, "the partition is not open"} {
  set_intake();
  set_transforms();
}

PartitionImpl::~PartitionImpl() { MR_CHECK(!log_); }

template <typename T>
io::Task<Result<T>> PartitionImpl::guarded(io::Task<Result<T>> work) {
  if (!log_ || !gate_.try_enter()) co_return why_closed_;
  auto result = co_await std::move(work);
  gate_.leave();
  co_return result;
}

io::Task<Result<>> PartitionImpl::open(std::string path) {
  return shard_.call(open_here(std::move(path)));
}

io::Task<Result<>> PartitionImpl::open_here(std::string path) {
  auto log = co_await log::PartitionLog::open(shared_->env, shard_, path, rules_->log);
  if (!log) {
    co_return Error{log.error().code, fmt::format("partition {} of \"{}\" does not open: {}",
                                                  index_, topic_, log.error().text)};
  }
  log_ = std::move(*log);
  mirror();
  co_return Result<>{};
}

io::Task<Result<>> PartitionImpl::close(Error why) {
  return shard_.call(close_here(std::move(why)));
}

io::Task<Result<>> PartitionImpl::close_here(Error why) {
  if (!log_ || gate_.closed()) co_return Result<>{};
  why_closed_ = std::move(why);
  co_await gate_.close();
  auto result = co_await log_->close();
  mirror();
  closed_.store(true, std::memory_order_release);
  listeners_.clear();
  log_.reset();
  co_return result;
}

io::Task<Result<>> PartitionImpl::enforce_retention() {
  return shard_.call(guarded(retention_here()));
}

io::Task<Result<>> PartitionImpl::retention_here() {
  auto result = co_await log_->enforce_retention();
  mirror();
  co_return result;
}

io::Task<Result<>> PartitionImpl::compact(const io::Gate& until) {
  return shard_.call(guarded(compact_here(until)));
}

io::Task<Result<>> PartitionImpl::compact_here(const io::Gate& until) {
  log::CompactionContext context;
  context.pool = &shared_->runtime;
  context.stop = [this, &until] { return gate_.closed() || until.closed(); };
  auto result = co_await log_->compact(std::move(context));
  mirror();
  co_return result;
}

void PartitionImpl::set_intake() {
  const auto now = intake_.load();
  if (rules_->intake.any() && now && now->rules() == rules_->intake) return;
  intake_ = rules_->intake.any() ? std::make_shared<Intake>(shared_->runtime, rules_->intake)
                                 : std::shared_ptr<Intake>();
  takes_in_ = rules_->intake.any();
}

void PartitionImpl::set_transforms() {
  using Place = catalog::Transform::Place;
  const auto& transforms = rules_->transforms;
  transforms_ = transforms;
  const bool on_produce = transforms && transforms->any(Place::kProduce);
  // Once, and before others may look.
  for (size_t i = 0; on_produce && orders_.size() < shared_->runtime.shard_count(); ++i) {
    orders_.push_back(std::make_unique<InOrder>(shared_->runtime.shard(i)));
  }
  on_produce_ = on_produce;
  on_fetch_ = transforms && transforms->any(Place::kFetch);
}

io::Task<void> PartitionImpl::apply(std::shared_ptr<const PartitionRules> rules) {
  return shard_.call(apply_here(std::move(rules)));
}

io::Task<void> PartitionImpl::apply_here(std::shared_ptr<const PartitionRules> rules) {
  rules_ = std::move(rules);
  check_records_ = rules_->check_records;
  set_intake();
  set_transforms();
  if (log_ && !gate_.closed()) log_->reconfigure(rules_->log);
  co_return;
}

io::Task<Result<log::AppendResult>> PartitionImpl::append(OwnedBytes batches, log::Ack ack) {
  auto result = co_await append_valid(std::move(batches), ack);
  if (!result) counters_.appends_failed.add();
  co_return result;
}

io::Task<Result<log::AppendResult>> PartitionImpl::append_valid(OwnedBytes batches, log::Ack ack) {
  // Before crossing: the checksums of a hot partition are spread over the shards of its producers.
  MR_CO_TRY(auto headers, log::validate_batches(batches, check_records_.load()));
  if (auto transforms = on_produce_ ? transforms_.load() : nullptr) {
    co_return co_await append_transformed(std::move(batches), ack, std::move(transforms));
  }
  if (auto intake = takes_in_ ? intake_.load() : nullptr) {
    co_return co_await append_taken_in(std::move(batches), ack, std::move(intake));
  }
  auto work = guarded(append_here(std::move(batches), ack, std::move(headers)));
  co_return co_await shard_.call(std::move(work));
}

io::Task<Result<log::AppendResult>> PartitionImpl::append_taken_in(OwnedBytes batches, log::Ack ack,
                                                                   std::shared_ptr<Intake> intake) {
  auto turn = co_await intake->turns().take();
  MR_CO_TRY(batches, co_await intake->take_in(std::move(batches).take()));
  MR_CO_TRY(auto headers, log::validate_batches(batches, false));
  auto work = guarded(append_here(std::move(batches), ack, std::move(headers)));
  {
    // Those behind continue once this shard gets to it: after this one is on its way.
    const auto ended = std::move(turn);
  }
  co_return co_await shard_.call(std::move(work));
}

io::Task<Result<log::AppendResult>> PartitionImpl::append_transformed(
    OwnedBytes batches, log::Ack ack, std::shared_ptr<const TopicTransforms> transforms) {
  Transforms* runs = shared_->transforms.load(std::memory_order_acquire);
  if (!runs) {
    co_return Error{ErrorCode::kNotSupported,
                    fmt::format("\"{}\" has transforms, and nothing here runs them", topic_)};
  }
  InOrder::Ticket ticket(*orders_[io::Shard::current()->index()]);
  if (auto intake = takes_in_ ? intake_.load() : nullptr) {
    MR_CO_TRY(batches, co_await intake->take_in(std::move(batches).take()));
  }
  auto running = runs->produced(std::move(transforms), index_, std::move(batches).take());
  MR_CO_TRY(batches, co_await std::move(running));
  co_await ticket.turn();
  auto headers = log::batch_headers(batches);
  auto work = guarded(append_here(std::move(batches), ack, std::move(headers)));
  ticket.end();  // those behind continue once this shard gets to it: after this one is on its way
  co_return co_await shard_.call(std::move(work));
}

io::Task<Result<log::AppendResult>> PartitionImpl::append_here(
    OwnedBytes batches, log::Ack ack, std::vector<log::BatchHeader> headers) {
  MR_CO_TRY(check(headers));
  ProduceCheck* produce_check = shared_->produce_check.load(std::memory_order_acquire);
  if (produce_check && rules_->check_records) {
    MR_CO_TRY(produce_check->check(rules_->object, batches));
  }
  const size_t bytes = batches.size();
  size_t records = 0;
  for (const auto& header : headers) records += static_cast<size_t>(header.record_count);
  auto result = co_await log_->append(std::move(batches), ack);
  mirror();
  if (!result) co_return result;
  if (!result->duplicate) {
    counters_.records_in.add(static_cast<double>(records));
    counters_.bytes_in.add(static_cast<double>(bytes));
  }
  // Answered before it may be seen: someone must look when it may.
  if (!following_ && log_->high_watermark() < result->next_offset && !gate_.closed()) {
    following_ = true;
    shard_.spawn(gate_, follow());
  }
  co_return result;
}

Result<> PartitionImpl::check(const std::vector<log::BatchHeader>& headers) const {
  const int64_t now = shared_->env.now_ms();
  for (const auto& header : headers) {
    if (header.control()) {
      return Error{ErrorCode::kInvalidRecord,
                   fmt::format("a control batch for \"{}\" does not come from a producer", topic_)};
    }
    if (header.producer_id >= 0 ? header.base_sequence < 0 : header.transactional()) {
      return Error{ErrorCode::kInvalidRecord,
                   fmt::format("a batch of producer {} for \"{}\" has the sequence {}{}",
                               header.producer_id, topic_, header.base_sequence,
                               header.transactional() ? " in a transaction" : "")};
    }
    if (rules_->log.timestamp_type == log::TimestampType::kLogAppendTime) continue;
    const bool after =
        header.max_timestamp > now && header.max_timestamp - now > rules_->timestamp_after_ms_max;
    const bool before = header.base_timestamp >= 0 && header.base_timestamp < now &&
                        now - header.base_timestamp > rules_->timestamp_before_ms_max;
    if (!after && !before) continue;
    return Error{ErrorCode::kInvalidTimestamp,
                 fmt::format("a batch for \"{}\" has the timestamp {}, further from now ({}) than "
                             "message.timestamp.{}.max.ms allows",
                             topic_, after ? header.max_timestamp : header.base_timestamp, now,
                             after ? "after" : "before")};
  }
  return {};
}

io::Task<void> PartitionImpl::follow() {
  // In steps, since the log may have lost what it was to make visible.
  while (!gate_.closed() && log_->high_watermark() < log_->end_offset()) {
    const Offset last_seen = log_->high_watermark();
    const auto deadline = std::chrono::steady_clock::now() + kFollowStep;
    co_await log_->wait_past(last_seen, deadline, log::Isolation::kUncommitted);
    mirror();
  }
  following_ = false;
}

void PartitionImpl::mirror() {
  start_offset_.store(log_->start_offset(), std::memory_order_release);
  size_bytes_.store(log_->size_bytes(), std::memory_order_relaxed);
  // A marker moves both; those who wait for either are woken by what changed.
  const Offset stable = log_->last_stable_offset();
  const bool stable_moved =
      last_stable_offset_.exchange(stable, std::memory_order_acq_rel) != stable;
  const Offset now = log_->high_watermark();
  const bool moved = high_watermark_.exchange(now, std::memory_order_acq_rel) != now;
  if (!moved && !stable_moved) return;
  advanced_.notify_all();
  for (const auto& [who, f] : listeners_) f();
}

io::Task<Result<log::ReadResult>> PartitionImpl::read(Offset from, size_t bytes_max,
                                                      log::Isolation isolation) {
  return shard_.call(guarded(read_here(from, bytes_max, isolation)));
}

io::Task<Result<log::ReadResult>> PartitionImpl::fetch(Offset from, size_t bytes_max,
                                                       log::Isolation isolation) {
  return shard_.call(guarded(fetch_here(from, bytes_max, isolation)));
}

io::Task<Result<log::ReadResult>> PartitionImpl::fetch_here(Offset from, size_t bytes_max,
                                                            log::Isolation isolation) {
  auto result = co_await log_->fetch(from, bytes_max, isolation);
  if (result) counters_.bytes_out.add(static_cast<double>(result->bytes()));
  co_return result;
}

io::Task<Result<log::AppendResult>> PartitionImpl::append_marker(log::TransactionMarker marker) {
  return shard_.call(guarded(append_marker_here(marker)));
}

io::Task<Result<log::AppendResult>> PartitionImpl::append_marker_here(
    log::TransactionMarker marker) {
  auto result = co_await log_->append_marker(marker);
  mirror();
  co_return result;
}

io::Task<Result<std::vector<log::ProducerEntry>>> PartitionImpl::producers() {
  return shard_.call(guarded(producers_here()));
}

io::Task<Result<std::vector<log::ProducerEntry>>> PartitionImpl::producers_here() {
  co_return log_->producers();
}

io::Task<Result<log::ReadResult>> PartitionImpl::read_here(Offset from, size_t bytes_max,
                                                           log::Isolation isolation) {
  auto result = co_await log_->read(from, bytes_max, isolation);
  if (result) counters_.bytes_out.add(static_cast<double>(result->batches.size()));
  co_return result;
}

io::Task<bool> PartitionImpl::wait_past(Offset offset,
                                        std::chrono::steady_clock::time_point deadline,
                                        log::Isolation isolation) {
  if (readable(isolation) > offset) co_return true;
  co_return co_await shard_.call(wait_here(offset, deadline, isolation));
}

io::Task<bool> PartitionImpl::wait_here(Offset offset,
                                        std::chrono::steady_clock::time_point deadline,
                                        log::Isolation isolation) {
  if (!log_ || !gate_.try_enter()) co_return false;
  while (!gate_.closed() && readable(isolation) <= offset) {
    if (!co_await advanced_.wait_until(deadline)) break;
  }
  const bool past = readable(isolation) > offset && !gate_.closed();
  gate_.leave();
  co_return past;
}

io::Task<Result<log::TimeOffset>> PartitionImpl::offset_for_time(TimestampMs timestamp) {
  return shard_.call(guarded(offset_for_time_here(timestamp)));
}

io::Task<Result<log::TimeOffset>> PartitionImpl::offset_for_time_here(TimestampMs timestamp) {
  co_return co_await log_->offset_for_time(timestamp);
}

io::Task<Result<log::TimeOffset>> PartitionImpl::max_timestamp() {
  return shard_.call(guarded(max_timestamp_here()));
}

io::Task<Result<log::TimeOffset>> PartitionImpl::max_timestamp_here() {
  co_return co_await log_->max_timestamp();
}

io::Task<Result<>> PartitionImpl::delete_records(Offset offset) {
  return shard_.call(guarded(delete_records_here(offset)));
}

io::Task<Result<>> PartitionImpl::delete_records_here(Offset offset) {
  auto result = co_await log_->delete_records(offset);
  mirror();
  co_return result;
}

io::Task<Result<>> PartitionImpl::truncate_to(Offset offset) {
  return shard_.call(guarded(truncate_here(offset)));
}

io::Task<Result<>> PartitionImpl::truncate_here(Offset offset) {
  auto result = co_await log_->truncate_to(offset);
  mirror();
  co_return result;
}

io::Task<Result<>> PartitionImpl::hold(std::string who, std::optional<Offset> from) {
  return shard_.call(guarded(hold_here(std::move(who), from)));
}

io::Task<Result<>> PartitionImpl::hold_here(std::string who, std::optional<Offset> from) {
  log_->hold(who, from);
  co_return Result<>{};
}

void PartitionImpl::on_advance(std::string who, std::function<void()> f) {
  shard_.post([self = shared_from_this(), who = std::move(who), f = std::move(f)] {
    if (!f || !self->log_ || self->gate_.closed()) {
      self->listeners_.erase(who);
      return;
    }
    self->listeners_[who] = f;
    f();
  });
}

}  // namespace millrace::broker::detail

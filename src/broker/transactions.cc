#include "broker/transactions.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>

#include "broker/detail/transactions_impl.h"

namespace millrace::broker {

namespace detail {

namespace {

constexpr const char* kTopic = "__transaction_state";

TopicPartition name_of_partition(const Partition& partition) {
  return {partition.topic(), partition.index()};
}

Result<> check_id(std::string_view id) {
  if (!id.empty()) return {};
  return Error{ErrorCode::kInvalidArgument, "the transactional id is empty"};
}

Metrics::Counter& ended_counter(Metrics& metrics, const char* outcome) {
  return metrics.counter("millrace_broker_transactions_total", "Transactions that ended.",
                         {{"outcome", outcome}});
}

Error not_added(std::string_view id, ErrorCode code, std::string_view what) {
  return {code, fmt::format("{} was not added to the transaction of '{}'", what, id)};
}

}  // namespace

TransactionsImpl::TransactionsImpl(io::Runtime& runtime, io::Env& env, Broker& broker,
                                   Groups& groups, TransactionOptions options)
    : home_(runtime.shard(0)),
      env_(env),
      broker_(broker),
      groups_(groups),
      options_(options),
      committed_(ended_counter(env.metrics(), "commit")),
      aborted_(ended_counter(env.metrics(), "abort")),
      timed_out_(env.metrics().counter("millrace_broker_transactions_timed_out_total",
                                       "Transactions aborted because they took too long.")),
      journal_(Journal::make(env, broker, kTopic)),
      wake_all_(gate_, [this] {
        for (const auto& [id, slot] : slots_) slot->changed.notify_all();
      }) {
  for (size_t i = 0; i < runtime.shard_count(); ++i) {
    queues_.push_back(std::make_shared<AdmissionQueue>(runtime.shard(i)));
  }
}

io::Task<void> TransactionsImpl::close() { return home_.call(close_here()); }

io::Task<void> TransactionsImpl::close_here() {
  if (!gate_.closed()) co_await gate_.close();
}

Result<TransactionsImpl::Slot> TransactionsImpl::find(const std::string& id) const {
  MR_TRY(check_id(id));
  const auto at = slots_.find(id);
  if (at != slots_.end()) return at->second;
  return Error{ErrorCode::kInvalidProducerIdMapping,
               fmt::format("there is no producer with the transactional id '{}'", id)};
}

TransactionsImpl::Slot TransactionsImpl::find_or_make(const std::string& id) {
  auto& slot = slots_[id];
  if (!slot) slot = std::make_shared<TransactionSlot>(id, home_);
  return slot;
}

io::Task<Result<>> TransactionsImpl::until_free(Slot slot, Deadline deadline) {
  while (slot->busy && !gate_.closed()) {
    if (!co_await slot->changed.wait_until(deadline)) break;
  }
  if (!slot->busy && !slot->gone) co_return Result<>();
  co_return Error{
      ErrorCode::kConcurrentTransactions,
      fmt::format("the transaction before of '{}' is still being ended; try again", slot->id)};
}

io::Task<Result<TransactionsImpl::Slot>> TransactionsImpl::to_add(std::string id,
                                                                  Producer producer) {
  MR_CO_TRY(auto slot, find(id));
  const auto deadline = std::chrono::steady_clock::now() + options_.busy_wait;
  // The next transaction may begin while the one before is being completed; of a producer that is
  // fenced there is no next one.
  MR_CO_TRY(slot->entry.check(producer, id));
  MR_CO_TRY(co_await until_free(slot, deadline));
  MR_CO_TRY(slot->entry.check(producer, id));
  co_return slot;
}

void TransactionsImpl::begin(const Slot& slot) {
  slot->entry.begin(env_.now_ms());
  if (slot->open) return;
  std::function<void()> left = [&home = home_, weak = std::weak_ptr(slot)] {
    home.post([weak] {
      if (const auto alive = weak.lock()) alive->changed.notify_all();
    });
  };
  slot->open = std::make_shared<OpenTransaction>(slot->id, slot->entry.producer, std::move(left));
  open_.put(slot->open);
}

io::Task<Result<>> TransactionsImpl::record(Slot slot, uint64_t version) {
  while (slot->written < version) {
    if (slot->writing) {
      // The write under way has a deadline of its own: the partition answers, or is closed.
      co_await slot->changed.wait_until(Deadline::max());
      continue;
    }
    MR_CO_TRY(co_await write(slot, slot->entry));
  }
  co_return Result<>();
}

io::Task<void> TransactionsImpl::record_behind(Slot slot, uint64_t version) {
  auto written = co_await record(std::move(slot), version);
  static_cast<void>(written);  // recorded() tries again, and tells
}

io::Task<Result<>> TransactionsImpl::write(Slot slot, std::optional<TransactionEntry> entry) {
  while (slot->writing) co_await slot->changed.wait_until(Deadline::max());
  slot->writing = true;
  const uint64_t version = slot->version;
  std::vector<Journal::Entry> entries(1);
  entries[0].key = slot->id;
  if (entry) entries[0].value = entry->encode();
  auto put = co_await journal_->put(std::move(entries));
  slot->writing = false;
  if (put) slot->written = std::max(slot->written, version);
  if (put && slot->open) slot->open->written(slot->written);
  slot->changed.notify_all();
  co_return put;
}

io::Task<Result<>> TransactionsImpl::add_partitions(std::string id, Producer producer,
                                                    std::vector<TopicPartition> partitions) {
  return guarded(add_here(std::move(id), producer, std::move(partitions), std::nullopt));
}

io::Task<Result<>> TransactionsImpl::add_group(std::string id, Producer producer,
                                               std::string group) {
  return guarded(add_here(std::move(id), producer, {}, std::move(group)));
}

io::Task<Result<>> TransactionsImpl::add_here(std::string id, Producer producer,
                                              std::vector<TopicPartition> partitions,
                                              std::optional<std::string> group) {
  MR_CO_TRY(const auto slot, co_await to_add(std::move(id), producer));
  auto& entry = slot->entry;
  bool added = !entry.open();
  begin(slot);
  for (auto& at : partitions) added |= entry.partitions.insert(std::move(at)).second;
  if (group) added |= entry.groups.insert(std::move(*group)).second;
  if (added) ++slot->version;
  co_return co_await record(slot, slot->version);
}

io::Task<Result<TransactionsImpl::Outcomes>> TransactionsImpl::verify_partitions(
    std::string id, Producer producer, std::vector<TopicPartition> partitions) {
  return guarded(verify_here(std::move(id), producer, std::move(partitions)));
}

io::Task<Result<TransactionsImpl::Outcomes>> TransactionsImpl::verify_here(
    std::string id, Producer producer, std::vector<TopicPartition> partitions) {
  MR_CO_TRY(const auto slot, co_await to_add(id, producer));
  Outcomes outcomes;
  for (const auto& at : partitions) {
    if (slot->entry.open() && slot->entry.partitions.contains(at)) {
      outcomes.emplace_back();
    } else {
      outcomes.emplace_back(not_added(id, ErrorCode::kTransactionAbortable,
                                      fmt::format("{}-{}", at.topic, at.partition)));
    }
  }
  co_return outcomes;
}

io::Task<Result<TransactionsImpl::Outcomes>> TransactionsImpl::stage_offsets(
    std::string id, Producer producer, std::string group, GroupCaller caller,
    std::vector<OffsetToCommit> offsets, bool add) {
  return guarded(stage_here(std::move(id), producer, std::move(group), std::move(caller),
                            std::move(offsets), add));
}

io::Task<Result<TransactionsImpl::Outcomes>> TransactionsImpl::stage_here(
    std::string id, Producer producer, std::string group, GroupCaller caller,
    std::vector<OffsetToCommit> offsets, bool add) {
  MR_CO_TRY(const auto slot, co_await to_add(id, producer));
  auto& entry = slot->entry;
  const bool held = entry.open() && entry.groups.contains(group);
  if (!held && !add) {
    co_return not_added(id, ErrorCode::kInvalidTransaction, fmt::format("group '{}'", group));
  }
  if (!held) {
    begin(slot);
    entry.groups.insert(group);
    ++slot->version;
  }
  // Inside, so that the transaction does not end between the two.
  slot->open->enter();
  const Admission inside(slot->open);
  MR_CO_TRY(co_await record(slot, slot->version));
  co_return co_await groups_.stage_offsets(producer.id, producer.epoch, std::move(group),
                                           std::move(caller), std::move(offsets));
}

std::optional<Transactions::Admission> TransactionsImpl::try_admit(
    Producer producer, std::span<Partition* const> partitions) {
  const auto* shard = io::Shard::current();
  if (!shard || queues_[shard->index()]->waits(producer.id)) return std::nullopt;
  auto transaction = open_.find(producer.id);
  if (!transaction || transaction->producer().epoch != producer.epoch) return std::nullopt;
  if (!transaction->try_enter(partitions)) return std::nullopt;
  return Admission(std::move(transaction));
}

io::Task<Result<Transactions::Admitted>> TransactionsImpl::admit(
    std::string id, Producer producer, std::vector<std::shared_ptr<Partition>> partitions,
    bool add) {
  auto* shard = io::Shard::current();
  MR_CHECK(shard != nullptr);
  const auto queue = queues_[shard->index()];
  auto place = co_await queue->take(producer.id);
  auto admitted = co_await guarded(admit_here(std::move(id), producer, std::move(partitions), add));
  queue->leave_later(std::move(place));
  co_return admitted;
}

io::Task<Result<Transactions::Admitted>> TransactionsImpl::admit_here(
    std::string id, Producer producer, std::vector<std::shared_ptr<Partition>> partitions,
    bool add) {
  MR_CO_TRY(const auto slot, co_await to_add(id, producer));
  auto& entry = slot->entry;
  Admitted admitted;
  admitted.partitions.resize(partitions.size());
  if (add) begin(slot);
  bool any = false;
  for (size_t i = 0; i < partitions.size(); ++i) {
    auto at = name_of_partition(*partitions[i]);
    if (add) {
      if (entry.partitions.insert(std::move(at)).second) ++slot->version;
    } else if (!entry.open() || !entry.partitions.contains(at)) {
      admitted.partitions[i] = not_added(id, ErrorCode::kInvalidTransaction,
                                         fmt::format("{}-{}", at.topic, at.partition));
      continue;
    }
    any = true;
  }
  if (!any) co_return admitted;
  slot->open->enter();
  const bool durable = slot->written >= slot->version;
  slot->open->written(slot->written);
  for (size_t i = 0; i < partitions.size(); ++i) {
    if (admitted.partitions[i]) slot->open->add(std::move(partitions[i]), slot->version);
  }
  admitted.admission = Admission(slot->open, durable ? 0 : slot->version);
  if (!durable) home_.spawn(gate_, record_behind(slot, slot->version));
  co_return admitted;
}

io::Task<Result<>> TransactionsImpl::recorded(Admission& admission) {
  if (admission.awaited() == 0) co_return Result<>();
  co_return co_await guarded(recorded_here(admission.transaction(), admission.awaited()));
}

io::Task<Result<>> TransactionsImpl::recorded_here(std::shared_ptr<OpenTransaction> transaction,
                                                   uint64_t version) {
  MR_CO_TRY(const auto slot, find(transaction->transactional_id()));
  co_return co_await record(slot, version);
}

io::Task<Result<std::vector<TransactionInfo>>> TransactionsImpl::list(TransactionFilter filter) {
  return guarded(list_here(std::move(filter)));
}

io::Task<Result<std::vector<TransactionInfo>>> TransactionsImpl::list_here(
    TransactionFilter filter) {
  std::optional<RE2> pattern;
  if (!filter.pattern.empty()) {
    RE2::Options options;
    options.set_log_errors(false);
    pattern.emplace(filter.pattern, options);
    if (!pattern->ok()) {
      co_return Error{ErrorCode::kInvalidRegex,
                      fmt::format("'{}' cannot be read: {}", filter.pattern, pattern->error())};
    }
  }
  const auto wanted = [](const auto& wishes, const auto& value) {
    return wishes.empty() || std::ranges::find(wishes, value) != wishes.end();
  };
  const TimestampMs now = env_.now_ms();
  std::vector<TransactionInfo> out;
  for (const auto& [id, slot] : slots_) {
    const auto& entry = slot->entry;
    if (entry.producer.epoch < 0 || !wanted(filter.states, entry.state) ||
        !wanted(filter.producer_ids, entry.producer.id) ||
        (filter.duration_ms >= 0 && now - entry.start_time <= filter.duration_ms) ||
        (pattern && !RE2::FullMatch(id, *pattern))) {
      continue;
    }
    out.push_back(entry.info(id));
  }
  co_return out;
}

io::Task<Result<TransactionInfo>> TransactionsImpl::describe(std::string id) {
  return guarded(describe_here(std::move(id)));
}

io::Task<Result<TransactionInfo>> TransactionsImpl::describe_here(std::string id) {
  MR_CO_TRY(check_id(id));
  const auto at = slots_.find(id);
  if (at == slots_.end() || at->second->entry.producer.epoch < 0) {
    co_return Error{ErrorCode::kTransactionalIdNotFound,
                    fmt::format("there is no transactional id '{}'", id)};
  }
  co_return at->second->entry.info(id);
}

namespace {

io::Task<Result<std::unique_ptr<Transactions>>> open_here(std::unique_ptr<TransactionsImpl> impl) {
  auto started = co_await impl->start();
  if (!started) {
    co_await impl->close();
    co_return std::move(started).error();
  }
  co_return std::unique_ptr<Transactions>(std::move(impl));
}

}  // namespace

}  // namespace detail

io::Task<Result<std::unique_ptr<Transactions>>> Transactions::open(io::Runtime& runtime,
                                                                   io::Env& env, Broker& broker,
                                                                   Groups& groups,
                                                                   TransactionOptions options) {
  auto impl = std::make_unique<detail::TransactionsImpl>(runtime, env, broker, groups, options);
  auto& home = impl->home();
  return home.call(detail::open_here(std::move(impl)));
}

}  // namespace millrace::broker

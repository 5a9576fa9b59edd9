#include <fmt/format.h>

#include <algorithm>

#include "base/logging.h"
#include "broker/detail/transactions_impl.h"

namespace millrace::broker::detail {

namespace {

/// Between attempts to write markers.
constexpr auto kMarkerRetryMin = std::chrono::milliseconds(20);
constexpr auto kMarkerRetryMax = std::chrono::seconds(5);

}  // namespace

/// Nobody else changes the slot, but for what finish() does when it takes over.
class TransactionsImpl::Alone {
 public:
  explicit Alone(Slot slot) : slot_(std::move(slot)) {
    MR_CHECK(!slot_->busy);
    slot_->busy = true;
  }
  ~Alone() {
    if (!slot_) return;
    slot_->busy = false;
    slot_->changed.notify_all();
  }
  Alone(Alone&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
  Alone& operator=(Alone&&) = delete;
  /// finish() ends it.
  void hand_over() { slot_.reset(); }

 private:
  Slot slot_;
};

io::Task<Result<Producer>> TransactionsImpl::init(std::string id, int32_t timeout_ms,
                                                  std::optional<Producer> expected) {
  return guarded(init_here(std::move(id), timeout_ms, expected));
}

io::Task<Result<Producer>> TransactionsImpl::init_here(std::string id, int32_t timeout_ms,
                                                       std::optional<Producer> expected) {
  if (id.empty()) co_return Error{ErrorCode::kInvalidArgument, "the transactional id is empty"};
  if (timeout_ms <= 0 || timeout_ms > options_.timeout_max.count()) {
    co_return Error{ErrorCode::kInvalidTransactionTimeout,
                    fmt::format("a transaction timeout of {} ms is not within 1 and {} ms",
                                timeout_ms, options_.timeout_max.count())};
  }
  const auto deadline = std::chrono::steady_clock::now() + options_.marker_wait;
  for (;;) {
    const auto slot = find_or_make(id);
    MR_CO_TRY(co_await until_free(slot, deadline));
    if (expected) MR_CO_TRY(slot->entry.check_expected(*expected, id));
    if (slot->entry.open()) {
      MR_CO_TRY(co_await decide(slot, {.fence = true, .by = expected}));
      continue;
    }
    MR_CO_TRY(co_await give(slot, expected, timeout_ms));
    logging::debug("transactional id given", {{"transactional_id", id},
                                              {"producer_id", slot->entry.producer.id},
                                              {"epoch", slot->entry.producer.epoch}});
    co_return slot->entry.producer;
  }
}

io::Task<Result<>> TransactionsImpl::give(Slot slot, std::optional<Producer> expected,
                                          int32_t timeout_ms) {
  const Alone alone(slot);
  MR_CO_TRY(const int64_t fresh, co_await fresh_id(slot->entry));
  auto next = slot->entry;
  next.give(expected, timeout_ms, fresh, env_.now_ms());
  MR_CO_TRY(co_await write(slot, next));
  slot->entry = std::move(next);
  co_return Result<>();
}

io::Task<Result<int64_t>> TransactionsImpl::fresh_id(const TransactionEntry& entry) {
  if (!entry.needs_id()) co_return int64_t{-1};
  co_return co_await broker_.next_producer_id();
}

io::Task<Result<Producer>> TransactionsImpl::end(std::string id, Producer producer, bool commit,
                                                 bool bump) {
  return guarded(end_here(std::move(id), producer, commit, bump));
}

io::Task<Result<Producer>> TransactionsImpl::end_here(std::string id, Producer producer,
                                                      bool commit, bool bump) {
  using Step = TransactionEntry::EndStep;
  MR_CO_TRY(const auto slot, find(id));
  const auto now = std::chrono::steady_clock::now();
  // Who can have no success need not wait for it.
  MR_CO_TRY(slot->entry.check_end(producer, commit, bump, id));
  MR_CO_TRY(co_await until_free(slot, now + options_.busy_wait));
  MR_CO_TRY(const auto step, slot->entry.check_end(producer, commit, bump, id));
  switch (step) {
    case Step::kDecide:
      break;
    case Step::kRepeated:
      co_return slot->entry.producer;
    case Step::kAbortNothing:
      MR_CO_TRY(co_await abort_nothing(slot));
      co_return slot->entry.producer;
    case Step::kBusy:
      co_return Error{ErrorCode::kConcurrentTransactions,
                      fmt::format("the transaction of '{}' is being ended; try again", id)};
  }
  MR_CO_TRY(co_await decide(slot, {.commit = commit, .bump = bump}));
  const auto next = slot->entry.current();
  // What is decided will happen; the caller waits so that it reads what it wrote.
  const bool marked = co_await until_marked(slot, now + options_.marker_wait);
  if (!marked) logging::warn("slow to write transaction markers", {{"transactional_id", id}});
  co_return next;
}

io::Task<bool> TransactionsImpl::until_marked(Slot slot, Deadline deadline) {
  while (slot->marking && !gate_.closed()) {
    if (!co_await slot->changed.wait_until(deadline)) break;
  }
  co_return !slot->marking;
}

io::Task<Result<>> TransactionsImpl::abort_nothing(Slot slot) {
  const Alone alone(slot);
  MR_CO_TRY(const int64_t fresh, co_await fresh_id(slot->entry));
  auto next = slot->entry;
  next.decide(false, true, fresh, env_.now_ms());
  next.complete(env_.now_ms());
  MR_CO_TRY(co_await write(slot, next));
  slot->entry = std::move(next);
  co_return Result<>();
}

io::Task<Result<>> TransactionsImpl::decide(Slot slot, Ending ending) {
  Alone alone(slot);
  MR_CO_TRY(const int64_t fresh, co_await fresh_id(slot->entry));
  // Batches that were let in are appended before the markers.
  const auto open = slot->open;
  while (open->end() > 0) co_await slot->changed.wait_until(Deadline::max());
  auto next = slot->entry;
  if (ending.fence) {
    next.fence(ending.by, env_.now_ms());
  } else {
    next.decide(ending.commit, ending.bump, fresh, env_.now_ms());
  }
  auto written = co_await write(slot, next);
  if (!written) {
    open->resume();
    co_return std::move(written).error();
  }
  (next.state == TransactionState::kPrepareCommit ? committed_ : aborted_).add();
  open_.erase(open->producer().id);
  slot->open.reset();
  slot->entry = std::move(next);
  slot->marking = true;
  alone.hand_over();
  // Within the gate: the caller is, so that it is open still.
  home_.spawn(gate_, finish(slot));
  co_return Result<>();
}

io::Task<void> TransactionsImpl::finish(Slot slot) {
  std::set<TopicPartition> left = slot->entry.partitions;
  auto pause = kMarkerRetryMin;
  while (!gate_.closed()) {
    auto marked = co_await mark_all(slot, left);
    if (marked) {
      slot->marking = false;
      slot->changed.notify_all();
      auto next = slot->entry;
      next.complete(env_.now_ms());
      marked = co_await write(slot, next);
      if (marked) {
        slot->entry = std::move(next);
        slot->busy = false;
        slot->changed.notify_all();
        co_return;
      }
    }
    logging::warn("cannot end a transaction yet",
                  {{"transactional_id", slot->id}, {"reason", marked.error().text}});
    co_await home_.sleep(pause, &gate_);
    pause = std::min<std::chrono::milliseconds>(pause * 2, kMarkerRetryMax);
  }
}

io::Task<Result<>> TransactionsImpl::mark_all(Slot slot, std::set<TopicPartition>& left) {
  const auto& entry = slot->entry;
  const bool commit = entry.state == TransactionState::kPrepareCommit;
  const log::TransactionMarker marker{
      .producer_id = entry.producer.id, .producer_epoch = entry.producer.epoch, .commit = commit};
  const std::vector<TopicPartition> wanted(left.begin(), left.end());
  std::vector<Result<>> outcomes(wanted.size());
  {
    io::Gate all;
    for (size_t i = 0; i < wanted.size(); ++i) {
      home_.spawn(all, mark(wanted[i], marker, outcomes[i]));
    }
    co_await all.close();
  }
  Result<> first;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (outcomes[i]) {
      left.erase(wanted[i]);
    } else if (first) {
      first = std::move(outcomes[i]);
    }
  }
  if (!entry.groups.empty()) {
    auto finished = co_await groups_.finish_transaction(marker.producer_id, commit);
    if (!finished && first) first = std::move(finished);
  }
  co_return first;
}

io::Task<void> TransactionsImpl::mark(const TopicPartition& at, log::TransactionMarker marker,
                                      Result<>& out) {
  const auto topic = broker_.find(at.topic);
  const auto index = static_cast<size_t>(at.partition);
  // What was dropped meanwhile needs no marker.
  if (!topic || index >= topic->partitions.size()) co_return;
  auto appended = co_await topic->partitions[index]->append_marker(marker);
  if (appended || appended.error().code == ErrorCode::kUnknownPartition) co_return;
  if (appended.error().code == ErrorCode::kInvalidProducerEpoch) {
    logging::warn("a partition has seen a newer producer than its transaction's",
                  {{"topic", at.topic}, {"partition", at.partition}, {"id", marker.producer_id}});
    co_return;
  }
  out = std::move(appended).error();
}

io::Task<void> TransactionsImpl::expire() {
  auto expired = co_await guarded(expire_here());
  static_cast<void>(expired);  // stopping is no failure here
}

io::Task<Result<>> TransactionsImpl::expire_here() {
  std::vector<Slot> due;
  const TimestampMs now = env_.now_ms();
  for (const auto& [id, slot] : slots_) {
    const auto& entry = slot->entry;
    if (slot->busy || entry.producer.epoch < 0) continue;
    if (entry.past_timeout(now) || entry.past_use(now, options_.id_expiration.count())) {
      due.push_back(slot);
    }
  }
  io::Gate all;
  for (auto& slot : due) home_.spawn(all, expire_one(std::move(slot)));
  co_await all.close();
  co_return Result<>();
}

io::Task<void> TransactionsImpl::expire_one(Slot slot) {
  Result<> done;
  if (slot->busy) co_return;
  if (slot->entry.open()) {
    done = co_await decide(slot, {.fence = true});
    if (done) {
      timed_out_.add();
      logging::info("a transaction is past its timeout and is aborted",
                    {{"transactional_id", slot->id}, {"timeout_ms", slot->entry.timeout_ms}});
      auto ended =
          co_await until_free(slot, std::chrono::steady_clock::now() + options_.marker_wait);
      static_cast<void>(ended);  // finish() goes on by itself
    }
  } else {
    const Alone alone(slot);
    done = co_await write(slot, std::nullopt);
    if (done) {
      slot->gone = true;
      slots_.erase(slot->id);
    }
  }
  if (!done) {
    logging::warn("cannot expire a transactional id yet",
                  {{"transactional_id", slot->id}, {"reason", done.error().text}});
  }
}

io::Task<void> TransactionsImpl::keep_expiring() {
  while (!gate_.closed()) {
    co_await home_.sleep(options_.check_interval, &gate_);
    if (!gate_.closed()) co_await expire();
  }
}

}  // namespace millrace::broker::detail

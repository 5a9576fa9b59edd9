#include "broker/detail/transaction_admissions.h"

#include <algorithm>

namespace millrace::broker {

using detail::OpenTransaction;

Transactions::Admission::Admission(std::shared_ptr<OpenTransaction> transaction, uint64_t awaited)
    : transaction_(std::move(transaction)), awaited_(awaited) {}

Transactions::Admission& Transactions::Admission::operator=(Admission&& other) noexcept {
  std::swap(transaction_, other.transaction_);
  std::swap(awaited_, other.awaited_);
  return *this;
}

Transactions::Admission::~Admission() {
  if (transaction_) transaction_->leave();
}

namespace detail {

bool OpenTransaction::try_enter(std::span<Partition* const> partitions) {
  std::lock_guard lock(mutex_);
  if (ending_) return false;
  for (const auto* wanted : partitions) {
    const bool held = std::ranges::any_of(partitions_, [&](const Held& each) {
      return each.partition.get() == wanted && each.version <= written_;
    });
    if (!held) return false;
  }
  ++inside_;
  return true;
}

void OpenTransaction::enter() {
  std::lock_guard lock(mutex_);
  MR_CHECK(!ending_);
  ++inside_;
}

void OpenTransaction::leave() {
  bool last = false;
  {
    std::lock_guard lock(mutex_);
    MR_CHECK(inside_ > 0);
    last = --inside_ == 0 && ending_;
  }
  if (last) left_();
}

void OpenTransaction::add(std::shared_ptr<Partition> partition, uint64_t version) {
  std::lock_guard lock(mutex_);
  if (std::ranges::find(partitions_, partition, &Held::partition) != partitions_.end()) return;
  partitions_.push_back({std::move(partition), version});
}

void OpenTransaction::written(uint64_t version) {
  std::lock_guard lock(mutex_);
  written_ = std::max(written_, version);
}

size_t OpenTransaction::end() {
  std::lock_guard lock(mutex_);
  ending_ = true;
  return inside_;
}

void OpenTransaction::resume() {
  std::lock_guard lock(mutex_);
  ending_ = false;
}

std::shared_ptr<OpenTransaction> OpenTransactions::find(int64_t producer_id) const {
  const Part& here = part(producer_id);
  std::shared_lock lock(here.mutex);
  const auto at = here.by_producer.find(producer_id);
  return at == here.by_producer.end() ? nullptr : at->second;
}

void OpenTransactions::put(std::shared_ptr<OpenTransaction> transaction) {
  const int64_t id = transaction->producer().id;
  Part& here = part(id);
  std::unique_lock lock(here.mutex);
  here.by_producer[id] = std::move(transaction);
}

void OpenTransactions::erase(int64_t producer_id) {
  Part& here = part(producer_id);
  std::unique_lock lock(here.mutex);
  here.by_producer.erase(producer_id);
}

/// A turn, and the line that it is of, which lives as long as somebody stands in it.
class AdmissionQueue::Place {
 public:
  Place(std::shared_ptr<AdmissionQueue> queue, int64_t producer_id, std::shared_ptr<io::Turn> line,
        io::Turn::Guard guard)
      : queue_(std::move(queue)),
        producer_id_(producer_id),
        line_(std::move(line)),
        guard_(std::move(guard)) {}
  ~Place() {
    guard_.reset();
    if (line_.use_count() == 1) queue_->lines_.erase(producer_id_);
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

 private:
  const std::shared_ptr<AdmissionQueue> queue_;
  const int64_t producer_id_;
  const std::shared_ptr<io::Turn> line_;
  std::optional<io::Turn::Guard> guard_;
};

io::Task<std::shared_ptr<AdmissionQueue::Place>> AdmissionQueue::take(int64_t producer_id) {
  auto self = shared_from_this();
  auto& known = lines_[producer_id];
  auto line = known.lock();
  if (!line) known = line = std::make_shared<io::Turn>(shard_);
  auto guard = co_await line->take();
  co_return std::make_shared<Place>(std::move(self), producer_id, std::move(line),
                                    std::move(guard));
}

void AdmissionQueue::leave_later(std::shared_ptr<Place> place) {
  shard_.post([held = std::move(place)] {});
}

}  // namespace detail

}  // namespace millrace::broker

#include <algorithm>

#include "base/logging.h"
#include "broker/detail/transactions_impl.h"

namespace millrace::broker::detail {

io::Task<Result<>> TransactionsImpl::start() {
  Result<> sound;
  MR_CO_TRY(co_await journal_->load([&](auto key, auto value) { take(key, value, sound); }));
  if (!sound) co_return sound;
  std::vector<Slot> ending;
  for (const auto& [id, slot] : slots_) {
    if (slot->entry.open()) begin(slot);
    if (slot->entry.preparing()) ending.push_back(slot);
  }
  for (const auto& slot : ending) slot->busy = slot->marking = true;
  MR_CO_TRY(co_await reconcile());
  for (const auto& slot : ending) home_.spawn(gate_, finish(slot));
  // Readers find ended transactions ended, unless a disk keeps us from it.
  const auto deadline = std::chrono::steady_clock::now() + options_.marker_wait;
  for (const auto& slot : ending) co_await until_marked(slot, deadline);
  home_.spawn(gate_, keep_expiring());
  co_return Result<>();
}

void TransactionsImpl::take(std::string_view key, std::optional<std::string_view> value,
                            Result<>& out) {
  const std::string id(key);
  if (!value) {
    slots_.erase(id);
    return;
  }
  auto entry = TransactionEntry::decode(*value);
  if (!entry) {
    out = std::move(entry).error();
  } else {
    find_or_make(id)->entry = std::move(*entry);
  }
}

io::Task<Result<>> TransactionsImpl::reconcile() {
  for (const auto& topic : broker_.list()) {
    for (const auto& partition : topic->partitions) {
      if (partition->last_stable_offset() >= partition->high_watermark()) continue;
      MR_CO_TRY(const auto producers, co_await partition->producers());
      for (const auto& producer : producers) {
        if (producer.transaction_first_offset < 0) continue;
        MR_CO_TRY(co_await reconcile(partition, producer));
      }
    }
  }
  co_return Result<>();
}

io::Task<Result<>> TransactionsImpl::reconcile(std::shared_ptr<Partition> partition,
                                               log::ProducerEntry producer) {
  const auto at = std::ranges::find_if(slots_, [&](const auto& each) {
    return each.second->entry.producer.id == producer.producer_id;
  });
  const TopicPartition where{partition->topic(), partition->index()};
  if (at != slots_.end()) {
    const Slot& slot = at->second;
    auto& entry = slot->entry;
    if (slot->busy || (entry.open() && entry.partitions.contains(where))) co_return Result<>();
    if (entry.producer.epoch == producer.epoch) {
      // The record that was to add the partition was lost with the answer: as if it had been made.
      begin(slot);
      entry.partitions.insert(where);
      const uint64_t version = ++slot->version;
      co_return co_await record(slot, version);
    }
  }
  log::TransactionMarker marker{.producer_id = producer.producer_id,
                                .producer_epoch = producer.epoch};
  if (at != slots_.end()) {
    marker.producer_epoch = std::max(marker.producer_epoch, at->second->entry.producer.epoch);
  } else if (marker.producer_epoch < TransactionEntry::kEpochMax) {
    ++marker.producer_epoch;
  }
  logging::warn(
      "aborting a transaction that no producer can end",
      {{"topic", where.topic}, {"partition", where.partition}, {"id", marker.producer_id}});
  auto appended = co_await partition->append_marker(marker);
  if (!appended) {
    logging::warn("cannot abort it", {{"reason", appended.error().text}});
  }
  co_return Result<>();
}

}  // namespace millrace::broker::detail

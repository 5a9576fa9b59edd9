#include "base/logging.h"
#include "catalog/sink.h"
#include "flow/detail/view.h"
#include "flow/detail/view_instruments.h"

// What a view tells of itself, and whether there is memory for it to go on.

namespace millrace::flow {

namespace {

constexpr std::string_view kFull =
    "the state of the views has used up its part of the memory, and this view's share is more than "
    "others': it takes in nothing until there is memory again; drop views, or start the node with "
    "a larger --memory";

}  // namespace

size_t View::state_bytes() const {
  size_t bytes = dataflow_->state_bytes() + rows_.memory_bytes();
  for (const auto& input : inputs_)
    if (input.upsert) bytes += input.upsert->memory_bytes();
  return bytes;
}

bool View::is_full() {
  if (memory_->is_full() == full_) return full_;
  full_ = !full_;
  instruments_->full.set(full_ ? 1 : 0);
  if (full_)
    logging::error("a view waits for memory",
                   {{"view", object_.name}, {"reason", std::string(kFull)}});
  else
    logging::info("a view that waited for memory goes on", {{"view", object_.name}});
  return full_;
}

void View::report() {
  instruments_->rows.set(static_cast<double>(rows_.size()));
  const size_t state = state_bytes();
  instruments_->state_bytes.set(static_cast<double>(state));
  instruments_->spilled_bytes.set(static_cast<double>(memory_->spilled_bytes()));
  instruments_->late_rows.set(static_cast<double>(dataflow_->late_rows()));
  auto operators = dataflow_->operators();
  std::lock_guard lock(mutex_);
  status_.rows = rows_.size();
  status_.state_bytes = state;
  status_.late_rows = dataflow_->late_rows();
  status_.late_seen_ms = late_seen_us_ / 1000;
  if (late_letters_) status_.late_topic = late_letters_->topic();
  status_.epoch = last_epoch_.number;
  status_.watermark_us = operators.front().watermark_us;
  status_.operators = std::move(operators);
}

int64_t View::sum_of(const Positions& positions) {
  int64_t sum = 0;
  for (const auto& source : positions)
    for (const Offset position : source) sum += std::max<Offset>(position, 0);
  return sum;
}

void View::report_snapshot(uint64_t bytes, Clock::duration pause) {
  instruments_->snapshots.add();
  instruments_->snapshot_bytes.set(static_cast<double>(bytes));
  instruments_->snapshot_pause.set(std::chrono::duration<double>(pause).count());
}

ViewStatus View::status() const {
  std::unique_lock lock(mutex_);
  ViewStatus status = status_;
  const auto taken = static_cast<double>(sum_of(shown_) - origin_);
  const bool recovered = recovered_;
  if (error_) status.error = error_->text;
  lock.unlock();
  status.name = catalog::shown_name(object_);
  status.kind = catalog::shown_kind(object_);
  status.lag = lag();
  if (status.lag > 0) status.progress = 100 * taken / (taken + static_cast<double>(status.lag));
  // What one epoch takes in is what comes while another one is computed.
  const bool behind = status.lag > static_cast<int64_t>(options_.epoch_rows_max);
  status.state = !status.error.empty() ? "failed"
                 : !recovered          ? "recovering"
                 : paused_             ? "paused"
                 : behind              ? "backfilling"
                                       : "live";
  if (full_ && status.error.empty()) {
    status.state = "full";
    status.error = kFull;
  }
  return status;
}

int64_t View::lag() const {
  std::lock_guard lock(mutex_);
  int64_t lag = 0;
  for (size_t s = 0; s < sources_.size(); ++s)
    for (size_t p = 0; p < shown_[s].size(); ++p)
      lag += std::max<int64_t>(
          sources_[s].source->topic().partitions[p]->last_stable_offset() - shown_[s][p], 0);
  return lag;
}

}  // namespace millrace::flow

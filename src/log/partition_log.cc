#include "log/partition_log.h"

#include <fmt/format.h>

#include <algorithm>

#include "log/detail/partition_log_impl.h"

namespace millrace::log {

io::Task<Result<std::unique_ptr<PartitionLog>>> PartitionLog::open(io::Env& env, io::Shard& shard,
                                                                   std::string path,
                                                                   LogConfig config) {
  MR_CHECK(shard.is_current());
  auto log =
      std::make_unique<detail::PartitionLogImpl>(env, shard, std::move(path), std::move(config));
  MR_CO_TRY(co_await log->load());
  co_return std::unique_ptr<PartitionLog>(std::move(log));
}

namespace detail {

namespace {
Metrics::Histogram& sync_histogram(Metrics& metrics) {
  return metrics.histogram("millrace_log_sync_seconds", "Time of one fdatasync of a segment",
                           {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1});
}
}  // namespace

PartitionLogImpl::PartitionLogImpl(io::Env& env, io::Shard& shard, std::string path,
                                   LogConfig config)
    : env_(env),
      shard_(shard),
      path_(std::move(path)),
      config_(config),
      dedup_turn_(shard),
      dedup_settled_(shard),
      cleaning_(shard),
      moved_(shard),
      idle_(shard),
      written_(shard),
      appended_bytes_(env.metrics().counter("millrace_log_appended_bytes_total",
                                            "Bytes of record batches appended")),
      appended_records_(
          env.metrics().counter("millrace_log_appended_records_total", "Records appended")),
      writes_(env.metrics().counter("millrace_log_writes_total", "Writes to segment files")),
      corrupt_batches_(env.metrics().counter("millrace_log_corrupt_batches_total",
                                             "Damaged record batches that were met")),
      sync_seconds_(sync_histogram(env.metrics())),
      compactions_(env.metrics().counter("millrace_log_compactions_total", "Compactions")),
      compaction_bytes_before_(env.metrics().counter("millrace_log_compaction_bytes_before_total",
                                                     "Bytes that compactions have read")),
      compaction_bytes_after_(env.metrics().counter("millrace_log_compaction_bytes_after_total",
                                                    "Bytes that compactions have left of them")) {}

PartitionLogImpl::~PartitionLogImpl() = default;

uint64_t PartitionLogImpl::size_bytes() const {
  uint64_t bytes = 0;
  for (const auto& segment : segments_) bytes += segment->size();
  return bytes;
}

io::Task<bool> PartitionLogImpl::wait_past(Offset offset,
                                           std::chrono::steady_clock::time_point deadline,
                                           Isolation isolation) {
  while (readable(isolation) <= offset && !closing_ && gate_.try_enter()) {
    const bool notified = co_await moved_.wait_until(deadline);
    const bool reached = readable(isolation) > offset;
    gate_.leave();
    if (reached) co_return true;
    if (!notified) co_return false;
  }
  co_return readable(isolation) > offset;
}

void PartitionLogImpl::hold(const std::string& who, std::optional<Offset> from) {
  if (from) {
    holds_[who] = *from;
  } else {
    holds_.erase(who);
  }
}

void PartitionLogImpl::reconfigure(const LogConfig& config) { config_ = config; }

io::Task<Result<>> PartitionLogImpl::close() {
  closing_ = true;
  moved_.notify_all();
  co_await until_idle();
  co_await gate_.close();
  retired_.clear();
  // A swap that could not be finished is finished at the next open, from what is on disk.
  const bool swapping = swap_.has_value();
  swap_.reset();
  if (clean_on_disk_ || segments_.empty()) co_return Result<>();
  if (sync_failed_ || tail_dirty_) MR_CO_TRY(co_await ready_to_write());
  if (ahead_ > 0) MR_CO_TRY(co_await cut_file());
  MR_CO_TRY(auto* file, active().file());
  MR_CO_TRY(co_await file->sync());
  MR_CO_TRY(co_await active().save_index());
  if (active().aborted.loaded()) {
    auto aborted_path = file_name(path_, active().base(), kAbortedSuffix);
    MR_CO_TRY(co_await active().aborted.save(env_.files(), std::move(aborted_path)));
  }
  if (!swapping) MR_CO_TRY(co_await save_clean());
  for (auto& segment : segments_) segment->unload();
  co_return Result<>();
}

}  // namespace detail
}  // namespace millrace::log

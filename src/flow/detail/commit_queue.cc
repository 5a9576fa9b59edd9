#include "flow/detail/commit_queue.h"

#include "base/logging.h"

namespace millrace::flow {

namespace {
constexpr size_t kAppendBytes = 8u << 20;
constexpr auto kRetry = std::chrono::milliseconds(200);
constexpr size_t kTriesPerLogLine = 50;
}  // namespace

CommitQueue::CommitQueue(std::shared_ptr<broker::Partition> changelog, io::Gate& gate,
                         std::function<void()> progressed)
    : changelog_(std::move(changelog)), gate_(gate), progressed_(std::move(progressed)) {}

std::shared_ptr<CommitQueue> CommitQueue::make(std::shared_ptr<broker::Partition> changelog,
                                               io::Gate& gate, std::function<void()> progressed) {
  return std::shared_ptr<CommitQueue>(
      new CommitQueue(std::move(changelog), gate, std::move(progressed)));
}

void CommitQueue::push(std::string bytes, size_t records) {
  std::lock_guard lock(mutex_);
  if (closed_ || failure_) return;
  ++waiting_;
  waiting_bytes_ += bytes.size();
  queue_.push_back({std::move(bytes), records});
  if (std::exchange(draining_, true)) return;
  changelog_->shard().spawn(gate_, drain(shared_from_this()));
}

std::string CommitQueue::gather(std::deque<Epoch>& taken) {
  std::string joined;
  size_t bytes = 0;
  std::lock_guard lock(mutex_);
  while (!queue_.empty() && (taken.empty() || bytes < kAppendBytes)) {
    bytes += queue_.front().bytes.size();
    taken.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  if (taken.size() > 1)
    for (const auto& epoch : taken) joined += epoch.bytes;
  return joined;
}

io::Task<void> CommitQueue::drain(std::shared_ptr<CommitQueue> self) {
  for (;;) {
    std::deque<Epoch> taken;
    const std::string joined = self->gather(taken);
    const std::string& bytes = taken.size() == 1 ? taken.front().bytes : joined;
    for (size_t tries = 0;; ++tries) {
      auto appended = co_await self->changelog_->append(bytes, log::Ack::kDurable);
      if (appended || self->give_up(appended.error())) {
        self->finish(appended, taken);
        break;
      }
      if (tries % kTriesPerLogLine == 0)
        logging::warn("a view's changelog cannot be written, trying again",
                      {{"view", self->changelog_->topic()}, {"reason", appended.error().text}});
      co_await self->changelog_->shard().sleep(kRetry, &self->gate_);
    }
    std::function<void()> progressed;
    {
      std::lock_guard lock(self->mutex_);
      if (!self->closed_) progressed = self->progressed_;
    }
    if (progressed) progressed();
    std::lock_guard lock(self->mutex_);
    if (self->queue_.empty() || self->failure_) {
      self->draining_ = false;
      self->idle_.notify_all();
      co_return;
    }
  }
}

bool CommitQueue::give_up(const Error& error) const {
  std::lock_guard lock(mutex_);
  return closed_ || gate_.closed() ||
         (error.code != ErrorCode::kDiskFull && error.code != ErrorCode::kIo);
}

void CommitQueue::finish(const Result<log::AppendResult>& appended,
                         const std::deque<Epoch>& taken) {
  std::lock_guard lock(mutex_);
  if (!appended) {
    failure_ = appended.error();
    queue_.clear();
    waiting_ = waiting_bytes_ = 0;
    return;
  }
  Offset at = appended->base_offset;
  for (const auto& epoch : taken) {
    done_.push_back({at, at + static_cast<Offset>(epoch.records)});
    at = done_.back().until;
    --waiting_;
    waiting_bytes_ -= epoch.bytes.size();
  }
}

std::deque<CommitQueue::Done> CommitQueue::take_done() {
  std::lock_guard lock(mutex_);
  return std::exchange(done_, {});
}

std::optional<Error> CommitQueue::failure() const {
  std::lock_guard lock(mutex_);
  return failure_;
}

size_t CommitQueue::waiting() const {
  std::lock_guard lock(mutex_);
  return waiting_;
}

size_t CommitQueue::waiting_bytes() const {
  std::lock_guard lock(mutex_);
  return waiting_bytes_;
}

void CommitQueue::close() {
  std::unique_lock lock(mutex_);
  closed_ = true;
  progressed_ = nullptr;
  idle_.wait(lock, [&] { return !draining_; });
}

}  // namespace millrace::flow

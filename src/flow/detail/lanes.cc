#include "flow/detail/lanes.h"

#include <pthread.h>

#include <algorithm>

namespace millrace::flow {

Lanes::Lanes(size_t count) {
  for (size_t i = 0; i < std::max<size_t>(count, 1); ++i) {
    threads_.emplace_back([this] { work(); });
    pthread_setname_np(threads_.back().native_handle(), ("lane" + std::to_string(i)).c_str());
  }
}

Lanes::~Lanes() { stop(); }

void Lanes::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (auto& thread : threads_)
    if (thread.joinable()) thread.join();
}

void Lanes::wake(const std::shared_ptr<Job>& job) {
  std::lock_guard lock(mutex_);
  if (job->removed_) return;
  if (job->state_ == Job::State::kRunning) job->state_ = Job::State::kRunningAgain;
  if (job->state_ == Job::State::kIdle) enqueue(job);
}

void Lanes::remove(const std::shared_ptr<Job>& job) {
  std::unique_lock lock(mutex_);
  job->removed_ = true;
  clear_alarm(job);
  if (job->state_ == Job::State::kQueued) {
    std::erase(queue_, job);
    job->state_ = Job::State::kIdle;
  }
  job_done_.wait(lock, [&] { return job->state_ == Job::State::kIdle; });
}

void Lanes::enqueue(const std::shared_ptr<Job>& job) {
  clear_alarm(job);
  job->state_ = Job::State::kQueued;
  queue_.push_back(job);
  changed_.notify_one();
}

void Lanes::set_alarm(const std::shared_ptr<Job>& job, Clock::time_point when) {
  clear_alarm(job);
  job->alarm_ = when;
  alarms_.emplace(when, job);
}

void Lanes::clear_alarm(const std::shared_ptr<Job>& job) {
  if (!job->alarm_) return;
  auto [at, end] = alarms_.equal_range(*job->alarm_);
  while (at != end && at->second != job) ++at;
  alarms_.erase(at);
  job->alarm_.reset();
}

void Lanes::ring_alarms() {
  const auto now = Clock::now();
  while (!alarms_.empty() && alarms_.begin()->first <= now) {
    const std::shared_ptr<Job> job = alarms_.begin()->second;
    enqueue(job);
  }
}

void Lanes::Loop::run() {
  for (size_t i = next++; i < count; i = next++) piece(i);
}

void Lanes::each(size_t count, const std::function<void(size_t)>& piece) {
  Loop loop{piece, count};
  if (count <= 1 || threads_.size() == 1) return loop.run();
  {
    std::lock_guard lock(mutex_);
    loops_.push_back(&loop);
  }
  for (size_t i = 1; i < std::min(count, threads_.size()); ++i) changed_.notify_one();
  loop.run();
  std::unique_lock lock(mutex_);
  std::erase(loops_, &loop);
  loop_left_.wait(lock, [&] { return loop.helpers == 0; });
}

/// Takes part in a loop that has pieces left; false: there is none.
bool Lanes::help(std::unique_lock<std::mutex>& lock) {
  const auto has_pieces = [](const Loop* loop) { return loop->next < loop->count; };
  const auto found = std::ranges::find_if(loops_, has_pieces);
  if (found == loops_.end()) return false;
  Loop& loop = **found;
  ++loop.helpers;
  lock.unlock();
  loop.run();
  lock.lock();
  if (--loop.helpers == 0) loop_left_.notify_all();
  return true;
}

void Lanes::work() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    ring_alarms();
    if (queue_.empty()) {
      if (help(lock)) continue;
      if (alarms_.empty())
        changed_.wait(lock);
      else
        changed_.wait_until(lock, Clock::time_point(alarms_.begin()->first));
      continue;
    }
    const std::shared_ptr<Job> job = std::move(queue_.front());
    queue_.pop_front();
    job->state_ = Job::State::kRunning;
    lock.unlock();
    const auto next = job->run();
    lock.lock();
    const bool again = job->state_ == Job::State::kRunningAgain;
    job->state_ = Job::State::kIdle;
    if (job->removed_) {
      job_done_.notify_all();
    } else if (again || (next && *next <= Clock::now())) {
      enqueue(job);
    } else if (next) {
      set_alarm(job, *next);
      changed_.notify_one();  // another lane may sleep past it
    }
  }
}

}  // namespace millrace::flow

#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "flow/detail/parallel.h"

namespace millrace::flow {

using Clock = std::chrono::steady_clock;

/// Something that lanes advance piece by piece: a view's dataflow, a topic's dead letters.
class Job {
 public:
  virtual ~Job() = default;
  /// Does one piece of work (an epoch) and says when the next may begin: a moment that has passed
  /// means at once, behind the other jobs; nullopt means at the next wake(). One lane at a time.
  virtual std::optional<Clock::time_point> run() = 0;

 private:
  friend class Lanes;
  enum class State { kIdle, kQueued, kRunning, kRunningAgain };
  State state_ = State::kIdle;  // under Lanes::mutex_
  bool removed_ = false;
  std::optional<Clock::time_point> alarm_;
};

/// The threads that dataflows run on. A job that has something to do stands in one queue, and
/// whichever lane is free takes it: no lane idles while a view waits. A lane without a job helps
/// another with its loops. Any thread.
class Lanes : public Parallel {
 public:
  explicit Lanes(size_t count);
  ~Lanes() override;
  Lanes(const Lanes&) = delete;
  Lanes& operator=(const Lanes&) = delete;

  /// The job has something to do. Cheap; does nothing for a job that was removed.
  void wake(const std::shared_ptr<Job>& job);
  /// The job does not run any more when this returns. Not from the job itself.
  void remove(const std::shared_ptr<Job>& job);
  /// The caller takes part, so this ends also when no lane is ever free. Costs a few microseconds,
  /// more than a loop over a few hundred rows is worth.
  void each(size_t count, const std::function<void(size_t)>& piece) override;
  /// Ends the threads once the jobs that are running return.
  void stop();

 private:
  /// A loop under way, on the stack of who called each().
  struct Loop {
    const std::function<void(size_t)>& piece;
    const size_t count;
    std::atomic<size_t> next = 0;
    size_t helpers = 0;  // under Lanes::mutex_
    void run();
  };
  void work();
  bool help(std::unique_lock<std::mutex>& lock);
  void enqueue(const std::shared_ptr<Job>& job);
  void set_alarm(const std::shared_ptr<Job>& job, Clock::time_point when);
  void clear_alarm(const std::shared_ptr<Job>& job);
  void ring_alarms();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable job_done_;
  std::condition_variable loop_left_;  // by a helper
  std::deque<std::shared_ptr<Job>> queue_;
  std::multimap<Clock::time_point, std::shared_ptr<Job>> alarms_;
  std::vector<Loop*> loops_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace millrace::flow

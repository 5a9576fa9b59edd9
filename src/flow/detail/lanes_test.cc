#include "flow/detail/lanes.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>

namespace millrace::flow {
namespace {

/// Counts its runs, and that no two of them overlap.
class Counting : public Job {
 public:
  explicit Counting(int wanted) : wanted_(wanted) {}
  std::optional<Clock::time_point> run() override {
    overlapped = overlapped || inside_.exchange(true);
    const int n = ++runs;
    inside_ = false;
    if (n == wanted_) done.count_down();
    if (n < wanted_) return Clock::now() + std::chrono::microseconds(n % 3 == 0 ? 300 : 0);
    return std::nullopt;
  }
  std::atomic<int> runs = 0;
  std::atomic<bool> overlapped = false;
  std::latch done{1};

 private:
  int wanted_;
  std::atomic<bool> inside_ = false;
};

TEST(Lanes, RunAJobAgainAtOnceOrAtItsAlarmNeverTwiceAtATime) {
  Lanes lanes(3);
  std::vector<std::shared_ptr<Counting>> jobs;
  for (int i = 0; i < 5; ++i) jobs.push_back(std::make_shared<Counting>(300));
  for (int round = 0; round < 50; ++round)
    for (const auto& job : jobs) lanes.wake(job);
  for (const auto& job : jobs) {
    job->done.wait();
    EXPECT_FALSE(job->overlapped);
  }
}

TEST(Lanes, ARemovedJobRunsNoMore) {
  Lanes lanes(2);
  auto job = std::make_shared<Counting>(1'000'000'000);
  lanes.wake(job);
  while (job->runs < 3) std::this_thread::yield();
  lanes.remove(job);
  const int runs = job->runs;
  lanes.wake(job);
  auto other = std::make_shared<Counting>(100);
  lanes.wake(other);
  other->done.wait();
  EXPECT_EQ(job->runs, runs);
}

TEST(Lanes, AWakeWhileRunningIsNotLost) {
  class Waker : public Job {
   public:
    explicit Waker(std::shared_ptr<Job>* self, Lanes** lanes) : self_(self), lanes_(lanes) {}
    std::optional<Clock::time_point> run() override {
      if (++runs_ == 1) (*lanes_)->wake(*self_);
      if (runs_ == 2) done.count_down();
      return std::nullopt;
    }
    std::latch done{1};

   private:
    std::shared_ptr<Job>* self_;
    Lanes** lanes_;
    int runs_ = 0;
  };
  Lanes lanes(1);
  std::shared_ptr<Job> self;
  Lanes* pointer = &lanes;
  auto job = std::make_shared<Waker>(&self, &pointer);
  self = job;
  lanes.wake(job);
  job->done.wait();
  lanes.remove(job);
}

}  // namespace
}  // namespace millrace::flow

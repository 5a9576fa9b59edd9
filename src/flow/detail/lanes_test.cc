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

TEST(Lanes, ALoopRunsEachPieceOnceOnEveryLaneThatIsFree) {
  class Looping : public Job {
   public:
    explicit Looping(Lanes& lanes) : lanes_(lanes) {}
    std::optional<Clock::time_point> run() override {
      // Ends only when two lanes are inside at once.
      std::latch both{2};
      lanes_.each(2, [&](size_t) { both.arrive_and_wait(); });
      std::vector<std::atomic<int>> called(1000);
      lanes_.each(called.size(), [&](size_t i) { ++called[i]; });
      once = std::ranges::all_of(called, [](const auto& n) { return n == 1; });
      done.count_down();
      return std::nullopt;
    }
    bool once = false;
    std::latch done{1};

   private:
    Lanes& lanes_;
  };
  Lanes lanes(2);
  auto job = std::make_shared<Looping>(lanes);
  lanes.wake(job);
  job->done.wait();
  EXPECT_TRUE(job->once);
}

TEST(Lanes, ALoopEndsThoughEveryOtherLaneIsBusyOrGone) {
  int calls = 0;
  Lanes lanes(1);
  lanes.each(3, [&](size_t) { ++calls; });
  EXPECT_EQ(calls, 3);
  std::atomic<int> counted = 0;
  Lanes stopped(3);
  stopped.stop();
  stopped.each(5, [&](size_t) { ++counted; });
  EXPECT_EQ(counted, 5);
}

TEST(Lanes, ALoopFailsAsItsFirstFailingPiece) {
  Lanes lanes(2);
  for (int round = 0; round < 100; ++round) {
    const auto failed = for_each_piece(&lanes, 9, [](size_t i) -> Result<> {
      if (i % 4 == 3) return Error{ErrorCode::kInternal, std::to_string(i)};
      return {};
    });
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().text, "3");
    EXPECT_THROW(static_cast<void>(for_each_piece(&lanes, 9,
                                                  [](size_t i) -> Result<> {
                                                    if (i == 5) throw std::runtime_error("five");
                                                    return {};
                                                  })),
                 std::runtime_error);
  }
}

}  // namespace
}  // namespace millrace::flow

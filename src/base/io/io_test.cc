#include <gtest/gtest.h>

#include <future>

#include "base/io/bell.h"
#include "base/io/gate.h"
#include "base/io/shard.h"
#include "base/io/signal.h"
#include "base/io/socket.h"

namespace millrace::io {
namespace {

using namespace std::chrono_literals;

Task<size_t> where_am_i() { co_return Shard::current()->index(); }

Task<size_t> ask(Shard& other) {
  auto* home = Shard::current();
  const size_t there = co_await other.call(where_am_i());
  EXPECT_EQ(Shard::current(), home);
  co_return there;
}

TEST(Shard, RunsACallOnItsOwnerAndReturnsToTheCaller) {
  Runtime runtime(2, 1);
  EXPECT_EQ(runtime.shard(0).block_on(ask(runtime.shard(1))), 1u);
  EXPECT_EQ(runtime.shard(1).block_on(ask(runtime.shard(1))), 1u);
}

Task<std::thread::id> in_pool(Runtime& runtime) {
  auto f = [] { return std::this_thread::get_id(); };
  co_return co_await runtime.blocking(f);
}

TEST(Runtime, RunsBlockingWorkOnAPoolThread) {
  Runtime runtime(1, 1);
  const auto pool = runtime.shard(0).block_on(in_pool(runtime));
  EXPECT_NE(pool, std::this_thread::get_id());
}

Task<void> sleep_long(Shard& shard, Gate& gate, int& woken) {
  co_await shard.sleep(24h, &gate);
  ++woken;
}

Task<int> close_while_sleeping(Shard& shard) {
  Gate gate;
  int woken = 0;
  shard.spawn(gate, sleep_long(shard, gate, woken));
  shard.spawn(gate, sleep_long(shard, gate, woken));
  EXPECT_EQ(gate.inside(), 2u);
  co_await shard.sleep(1ms);
  co_await gate.close();
  EXPECT_FALSE(gate.try_enter());
  shard.spawn(gate, sleep_long(shard, gate, woken));  // refused
  co_return woken;
}

TEST(Gate, CloseWakesSleepersAndWaitsForThem) {
  Runtime runtime(1, 0);
  EXPECT_EQ(runtime.shard(0).block_on(close_while_sleeping(runtime.shard(0))), 2);
}

Task<void> wait_for(Signal& signal, bool& notified) {
  const auto deadline = std::chrono::steady_clock::now() + 1h;
  notified = co_await signal.wait_until(deadline);
}

Task<bool> notice_before_deadline(Shard& shard) {
  Gate gate;
  Signal signal(shard);
  bool notified = false;
  shard.spawn(gate, wait_for(signal, notified));
  co_await shard.sleep(1ms);
  signal.notify_all();
  co_await gate.close();
  co_return notified;
}

Task<bool> deadline_without_notice(Shard& shard) {
  Signal signal(shard);
  const auto deadline = std::chrono::steady_clock::now() + 1ms;
  co_return co_await signal.wait_until(deadline);
}

TEST(Signal, TellsANoticeFromADeadline) {
  Runtime runtime(1, 0);
  auto& shard = runtime.shard(0);
  EXPECT_TRUE(shard.block_on(notice_before_deadline(shard)));
  EXPECT_FALSE(shard.block_on(deadline_without_notice(shard)));
}

Task<std::chrono::nanoseconds> time_of_wait(Bell& bell, std::chrono::nanoseconds most) {
  const auto began = std::chrono::steady_clock::now();
  co_await bell.wait(most);
  co_return std::chrono::steady_clock::now() - began;
}

TEST(Bell, WakesWhoWaitsIsHeardLaterAndIsGivenUpAfterATime) {
  Runtime runtime(1, 1);
  auto& shard = runtime.shard(0);
  auto bell = std::make_shared<Bell>(shard);
  std::thread ringer([&] {
    std::this_thread::sleep_for(5ms);
    bell->ring();
  });
  EXPECT_LT(shard.block_on(time_of_wait(*bell, 1h)), 1min);
  ringer.join();
  bell->ring();  // nobody waits
  bell->ring();
  EXPECT_LT(shard.block_on(time_of_wait(*bell, 1h)), 1min);
  EXPECT_GE(shard.block_on(time_of_wait(*bell, 5ms)), 5ms);
}

}  // namespace
}  // namespace millrace::io

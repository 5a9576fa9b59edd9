#include "broker/detail/in_order.h"

#include <gmock/gmock.h>

#include "base/io/gate.h"

namespace millrace::broker::detail {
namespace {

io::Task<void> step(io::Shard& shard, InOrder& order, int number, int steps,
                    std::vector<int>& seen) {
  InOrder::Ticket ticket(order);
  for (int i = 0; i < steps; ++i) co_await shard.sleep(std::chrono::milliseconds(1));
  if (number == 2) co_return;  // it failed: those behind do not wait for it
  co_await ticket.turn();
  seen.push_back(number);
}

io::Task<void> all(io::Shard& shard, std::vector<int>& seen) {
  InOrder order(shard);
  io::Gate gate;
  int number = 0;
  for (const int steps : {30, 0, 10, 1}) {
    auto one = step(shard, order, number++, steps, seen);
    shard.spawn(gate, std::move(one));
  }
  co_await shard.sleep(std::chrono::milliseconds(1));
  co_await gate.close();
}

TEST(InOrder, GoesOnInTheOrderOfTickets) {
  io::Runtime runtime(1, 0);
  std::vector<int> seen;
  runtime.shard(0).block_on(all(runtime.shard(0), seen));
  EXPECT_THAT(seen, testing::ElementsAre(0, 1, 3));
}

}  // namespace
}  // namespace millrace::broker::detail

#pragma once

#include <coroutine>
#include <list>

#include "base/io/gate.h"
#include "base/io/memory_budget.h"
#include "base/io/shard.h"

namespace millrace::kafka {

/// Where the connections of one shard wait while the node's memory for clients is used up. First
/// come, first served, and no more at a time than there is room for. When nothing has moved for a
/// while (each waits with half a request in its hands), one connection of the node may go on
/// without room, to the end of its request. Lives on one shard, longer than those that wait.
class MemoryGate {
 public:
  MemoryGate(io::Shard& shard, io::MemoryBudget& budget) : shard_(shard), budget_(budget) {}

  /// What one that waited may read before it looks again.
  static constexpr size_t kTurnBytes = 64 * 1024;

  io::MemoryBudget& budget() { return budget_; }
  /// Continues when there is room (false), when it may go on without (true: it has taken the
  /// budget's exemption), or soon after `cancelled` has become true (false).
  io::Task<bool> wait(const bool& cancelled);
  /// After the last one that waits.
  io::Task<void> close() { return gate_.close(); }

 private:
  struct Waiter;
  io::Task<void> tick();

  io::Shard& shard_;
  io::MemoryBudget& budget_;
  io::Gate gate_;
  std::list<Waiter*> waiters_;
  bool ticking_ = false;
};

}  // namespace millrace::kafka

#pragma once

#include <list>
#include <map>
#include <memory>

#include "base/io/gate.h"
#include "base/io/signal.h"
#include "broker/broker.h"

namespace millrace::kafka {

/// Tells the long polls of one shard that a partition has something new. However many wait for a
/// partition, one task asks its owner. Lives on one shard, longer than its interests.
class Watcher {
 public:
  explicit Watcher(io::Shard& shard) : shard_(shard) {}

 private:
  struct Watched;
  struct Waiting {
    io::Signal* signal;
    Offset offset;
    Watched* of;  // null: told already
  };
  struct Watched {
    std::shared_ptr<broker::Partition> partition;
    std::list<Waiting*> waiting;
  };

 public:
  /// For its lifetime, `signal` is notified (once) when the partition's high watermark passes
  /// `offset`, or when the partition closes.
  class Interest {
   public:
    Interest(Watcher& watcher, std::shared_ptr<broker::Partition> partition, Offset offset,
             io::Signal& signal);
    ~Interest();
    Interest(const Interest&) = delete;
    Interest& operator=(const Interest&) = delete;

   private:
    Waiting waiting_;
  };

  /// After the last interest. Continues when no task runs; at most kSlice later.
  io::Task<void> close() { return gate_.close(); }

 private:
  io::Task<void> watch(broker::Partition* key);
  void tell(Watched& watched, bool all);

  io::Shard& shard_;
  io::Gate gate_;
  std::map<broker::Partition*, Watched> watched_;
};

}  // namespace millrace::kafka

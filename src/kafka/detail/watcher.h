#pragma once

#include <list>
#include <map>
#include <memory>

#include "base/io/gate.h"
#include "base/io/signal.h"
#include "broker/broker.h"

namespace millrace::kafka {

/// Tells the long polls of one shard that a partition has something new. However many wait for a
/// partition, its owner tells this shard once, and only while someone waits. Lives on one shard,
/// longer than its interests.
class Watcher {
 public:
  explicit Watcher(io::Shard& shard);
  ~Watcher();

 private:
  struct Watched;
  struct Waiting {
    io::Signal* signal;
    Offset offset;
    log::Isolation isolation;
    Watched* of;  // null: told already
  };

 public:
  /// For its lifetime, `signal` is notified (once) when the partition's high watermark (for
  /// kCommitted: its last stable offset) passes `offset`. What came before is not told: look at the
  /// partition after this is made. A partition that closes says nothing: look now and then.
  class Interest {
   public:
    Interest(Watcher& watcher, std::shared_ptr<broker::Partition> partition, Offset offset,
             log::Isolation isolation, io::Signal& signal);
    ~Interest();
    Interest(const Interest&) = delete;
    Interest& operator=(const Interest&) = delete;

   private:
    Waiting waiting_;
  };

  /// After the last interest: the partitions tell nothing more.
  io::Task<void> close();

 private:
  /// What the partition's shard and this one share.
  struct Link;

  Watched& watch(std::shared_ptr<broker::Partition> partition);
  void told(broker::Partition* key);
  void forget_idle();
  void unlink(Watched& watched);

  io::Shard& shard_;
  const std::string name_;          // of this watcher, among a partition's listeners
  std::shared_ptr<Watcher*> self_;  // null inside once closed; looked at on shard_ alone
  std::map<broker::Partition*, Watched> watched_;
  size_t idle_checks_ = 0;
};

}  // namespace millrace::kafka

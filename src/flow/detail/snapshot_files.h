#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/io/env.h"
#include "base/io/shard.h"
#include "flow/detail/state_stream.h"

namespace millrace::flow {

/// The snapshots of one view: a folder of files, one an epoch. A file is written under another
/// name, synced, and then renamed; so what has its name is whole, unless the disk has damaged it,
/// which its checksums tell. docs/dataflow.md is the format. Threads that are not shards; one
/// writes at a time.
class SnapshotFiles {
 public:
  /// `shard` does the reading and writing.
  SnapshotFiles(io::Env& env, io::Shard& shard, std::string folder)
      : env_(env), shard_(shard), folder_(std::move(folder)) {}

  /// Epochs that there is a file of, the newest first.
  std::vector<uint64_t> list() const;
  /// Every block of the file, checked. Errors: kCorruptRecord, kIo.
  Result<> verify(uint64_t epoch) const;
  /// Reads its blocks one by one, checking each.
  Result<StateReader> read(uint64_t epoch) const;
  /// Writes the blocks that `next` gives until an empty one; durable when it succeeds. Then only
  /// the `keep` newest files are left. Gives the file's bytes.
  Result<uint64_t> write(uint64_t epoch, size_t keep, const std::function<std::string()>& next);
  Result<> remove(uint64_t epoch);
  void remove_all();

 private:
  std::string path(uint64_t epoch) const;
  Result<uint64_t> write_blocks(const std::string& path, const std::function<std::string()>& next);
  void drop_others(size_t keep);

  io::Env& env_;
  io::Shard& shard_;
  const std::string folder_;
};

/// Does one thing after another on a thread of its own.
class Background {
 public:
  Background();
  ~Background() { stop(); }
  void push(std::function<void()> work);
  /// Finishes what was pushed.
  void stop();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  bool stopping_ = false;
  std::thread thread_;
};

/// Blocks on their way from the lane that saves to the thread that writes. Both at once.
class SnapshotPipe {
 public:
  void push(std::string block);
  /// The last block was pushed.
  void end();
  /// The next block; empty after the last.
  std::string take();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> blocks_;
  bool ended_ = false;
};

}  // namespace millrace::flow

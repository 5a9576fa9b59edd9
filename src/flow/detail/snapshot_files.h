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

/// A snapshot's file while it is written, block by block, under another name. Threads that are not
/// shards, one at a time.
class SnapshotDraft {
 public:
  /// Takes the next block. After a failure blocks are passed over.
  void add(std::string_view block);
  /// Gives up what is there.
  void abandon();

 private:
  friend class SnapshotFiles;
  SnapshotDraft(io::Env& env, io::Shard& shard, std::string path)
      : env_(env), shard_(shard), path_(std::move(path)) {}
  Result<> open();
  Result<> write(std::string_view block);
  Result<> finish();

  io::Env& env_;
  io::Shard& shard_;
  const std::string path_;
  std::shared_ptr<io::File> file_;
  uint64_t at_ = 0;
  uint64_t blocks_ = 0;
  Result<> outcome_;
};

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
  /// To be handed to publish() or abandoned. Whether it can be written publish() tells.
  std::unique_ptr<SnapshotDraft> draft(uint64_t epoch) const;
  /// What was added is the snapshot of `epoch`, durable when this succeeds. Then only the `keep`
  /// newest files are left. Gives the file's bytes.
  Result<uint64_t> publish(SnapshotDraft& draft, uint64_t epoch, size_t keep);
  Result<> remove(uint64_t epoch);
  void remove_all();

 private:
  std::string path(uint64_t epoch) const;
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

}  // namespace millrace::flow

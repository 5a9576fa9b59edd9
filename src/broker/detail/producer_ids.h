#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/io/env.h"

namespace millrace::broker::detail {

/// Numbers that no producer had before. A file says where the next block of 1000 begins; it is
/// replaced before the first number of a block is given out, so a crash skips numbers and never
/// repeats one. Lives on one shard; next() blocks for one small fsync in a thousand calls.
class ProducerIds {
 public:
  /// Errors: kIo, kCorruptRecord when the file holds no number.
  static Result<std::unique_ptr<ProducerIds>> open(io::FileSystem& files, std::string path);

  /// For open(): the block at `begin` is free.
  ProducerIds(io::FileSystem& files, std::string path, int64_t begin)
      : files_(files), path_(std::move(path)), next_(begin), end_(begin) {}

  /// Errors: kIo, kDiskFull.
  Result<int64_t> next();

 private:
  io::FileSystem& files_;
  std::string path_;
  int64_t next_;
  int64_t end_;  // of the block that is durably ours
};

}  // namespace millrace::broker::detail

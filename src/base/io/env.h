#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/io/task.h"
#include "base/metrics.h"

namespace millrace::io {

/// An open file that may be read from any thread for as long as someone holds it, even when its
/// name is gone. What is given out of it is never written again. For sending parts of it to a
/// socket.
class SharedFile {
 public:
  explicit SharedFile(int descriptor) : descriptor_(descriptor) {}
  ~SharedFile();
  SharedFile(const SharedFile&) = delete;
  SharedFile& operator=(const SharedFile&) = delete;
  int descriptor() const { return descriptor_; }
  /// Whether all of the range is in the system's memory, so that reading it does not wait for the
  /// disk. Does not block.
  bool in_memory(uint64_t position, size_t length) const;

 private:
  int descriptor_;
};

/// Bytes of a file, named instead of read.
struct FileRange {
  std::shared_ptr<const SharedFile> file;  // null: none
  uint64_t position = 0;
  size_t length = 0;
};

/// A file opened for reading and writing at positions. Belongs to one shard; reads may overlap each
/// other and a write.
class File {
 public:
  virtual ~File() = default;
  /// Writes all of `bytes` at `position`. Errors: kDiskFull, kIo. `bytes` must live until it
  /// completes.
  virtual Task<Result<>> write(uint64_t position, std::string_view bytes) = 0;
  /// Writes all of `parts`, one after the other, as one gathered write. `parts` and the bytes must
  /// live until it completes.
  virtual Task<Result<>> write_parts(uint64_t position, std::span<const std::string_view> parts);
  /// Appends up to `length` bytes from `position` to `*out`; fewer only at the end of the file.
  /// Gives the count.
  virtual Task<Result<size_t>> read(uint64_t position, size_t length, std::string* out) = 0;
  /// fdatasync: what was written before is on disk when it succeeds.
  virtual Task<Result<>> sync() = 0;
  virtual Task<Result<>> truncate(uint64_t size) = 0;
  /// Bytes; as of the last write or truncate.
  virtual uint64_t size() const = 0;
  /// To name ranges of it; null when it cannot be shared (files in memory).
  virtual std::shared_ptr<const SharedFile> share() const { return nullptr; }
};

/// A tree of files. Calls that are not Tasks block: short metadata work only. Paths are absolute.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  enum class Mode { kRead, kCreate /* or open for writing */ };
  virtual Result<std::unique_ptr<File>> open(const std::string& path, Mode mode) = 0;
  virtual Result<> make_folder(const std::string& path) = 0;  // and its parents; durable
  virtual Result<std::vector<std::string>> list(const std::string& folder) = 0;  // names, sorted
  virtual bool exists(const std::string& path) = 0;
  virtual Result<> remove(const std::string& path) = 0;         // a file
  virtual Result<> remove_folder(const std::string& path) = 0;  // and all in it
  virtual Result<> rename(const std::string& from, const std::string& to) = 0;
  virtual Result<> sync_folder(const std::string& path) = 0;
  /// Whole small files (manifests): read, and write-then-rename with fsync.
  virtual Result<std::string> read_file(const std::string& path) = 0;
  virtual Result<> replace_file(const std::string& path, std::string_view bytes) = 0;
};

/// What a node takes from the world besides sockets, so that a test can choose it.
class Env {
 public:
  virtual ~Env() = default;
  virtual FileSystem& files() = 0;
  /// Milliseconds since the epoch.
  virtual int64_t now_ms() = 0;
  virtual uint64_t random() = 0;
  /// Where the node's numbers are reported.
  virtual Metrics& metrics() = 0;
};

/// The real disk (io_uring on the current shard), the real clock, the system's randomness.
std::unique_ptr<Env> make_real_env();

/// Files in memory, for tests: unsynced bytes can be forgotten, and any operation be made to fail.
class MemoryFiles;

}  // namespace millrace::io

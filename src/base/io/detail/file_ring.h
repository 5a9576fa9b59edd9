#pragma once

#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

struct io_uring;

namespace millrace::io::detail {

/// One read, write or fdatasync of a file descriptor, awaited by the coroutine that asked for it.
struct FileOp {
  enum class Kind { kRead, kWrite, kWriteParts /* data: iovec[length] */, kSync };
  Kind kind;
  int fd;
  uint64_t position = 0;
  char* data = nullptr;
  size_t length = 0;
  int64_t result = 0;  // bytes, or -errno
  std::coroutine_handle<> waiter = nullptr;
};

/// Runs FileOps: by io_uring, or by one plain thread where the kernel refuses io_uring (containers
/// often do). Belongs to one shard; its constructor and destructor run while the shard's thread
/// does not.
class FileRing {
 public:
  using Post = std::function<void(std::move_only_function<void()>)>;
  /// `post` runs work on the shard, later; any thread may call it. Without `try_ring` the plain
  /// thread serves.
  explicit FileRing(Post post, bool try_ring = true);
  ~FileRing();
  FileRing(const FileRing&) = delete;
  FileRing& operator=(const FileRing&) = delete;

  /// Readable when operations have completed; -1 when the plain thread serves.
  int event_fd() const { return event_fd_; }
  /// Queues `op`; all that one turn of the shard queues goes to the kernel in one call.
  void start(FileOp& op);
  /// Resumes what has completed.
  void drain();

 private:
  void submit();
  void run_thread();

  Post post_;
  std::unique_ptr<::io_uring> ring_;
  int event_fd_ = -1;
  bool submit_posted_ = false;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<FileOp*> queue_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace millrace::io::detail

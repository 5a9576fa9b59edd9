#include "base/io/detail/file_ring.h"

#include <liburing.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/check.h"
#include "base/logging.h"

namespace millrace::io::detail {

namespace {
constexpr unsigned kEntries = 256;

int64_t run_blocking(const FileOp& op) {
  ssize_t n = 0;
  switch (op.kind) {
    case FileOp::Kind::kRead:
      n = ::pread(op.fd, op.data, op.length, static_cast<off_t>(op.position));
      break;
    case FileOp::Kind::kWrite:
      n = ::pwrite(op.fd, op.data, op.length, static_cast<off_t>(op.position));
      break;
    case FileOp::Kind::kWriteParts:
      n = ::pwritev(op.fd, reinterpret_cast<const iovec*>(op.data), static_cast<int>(op.length),
                    static_cast<off_t>(op.position));
      break;
    case FileOp::Kind::kSync:
      n = ::fdatasync(op.fd);
      break;
  }
  return n < 0 ? -errno : n;
}

void prepare(::io_uring_sqe* sqe, FileOp& op) {
  // The kernel takes 32 bits of length; File loops over what is left.
  const auto length = static_cast<unsigned>(std::min<size_t>(op.length, 1u << 30));
  switch (op.kind) {
    case FileOp::Kind::kRead:
      ::io_uring_prep_read(sqe, op.fd, op.data, length, op.position);
      break;
    case FileOp::Kind::kWrite:
      ::io_uring_prep_write(sqe, op.fd, op.data, length, op.position);
      break;
    case FileOp::Kind::kWriteParts:
      ::io_uring_prep_writev(sqe, op.fd, reinterpret_cast<const iovec*>(op.data),
                             static_cast<unsigned>(op.length), op.position);
      break;
    case FileOp::Kind::kSync:
      ::io_uring_prep_fsync(sqe, op.fd, IORING_FSYNC_DATASYNC);
      break;
  }
  ::io_uring_sqe_set_data(sqe, &op);
}
}  // namespace

FileRing::FileRing(Post post, bool try_ring) : post_(std::move(post)) {
  auto ring = std::make_unique<::io_uring>();
  int failed = try_ring ? ::io_uring_queue_init(kEntries, ring.get(), 0) : -ENOSYS;
  if (failed == 0) {
    event_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    MR_CHECK(event_fd_ >= 0);
    failed = ::io_uring_register_eventfd(ring.get(), event_fd_);
    MR_CHECK(failed == 0);
    ring_ = std::move(ring);
    return;
  }
  logging::info("io_uring is not available here, files are served by a plain thread",
                {{"errno", -failed}});
  thread_ = std::thread([this] { run_thread(); });
}

FileRing::~FileRing() {
  if (thread_.joinable()) {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }
  if (ring_) ::io_uring_queue_exit(ring_.get());
  if (event_fd_ >= 0) ::close(event_fd_);
}

void FileRing::start(FileOp& op) {
  if (!ring_) {
    std::lock_guard lock(mutex_);
    queue_.push_back(&op);
    changed_.notify_one();
    return;
  }
  auto* sqe = ::io_uring_get_sqe(ring_.get());
  if (!sqe) {
    ::io_uring_submit(ring_.get());
    sqe = ::io_uring_get_sqe(ring_.get());
    MR_CHECK(sqe != nullptr);
  }
  prepare(sqe, op);
  if (submit_posted_) return;
  submit_posted_ = true;
  post_([this] { submit(); });
}

void FileRing::submit() {
  submit_posted_ = false;
  const int submitted = ::io_uring_submit(ring_.get());
  if (submitted == -EAGAIN || submitted == -EBUSY || submitted == -EINTR) {
    drain();
    if (!submit_posted_) {
      submit_posted_ = true;
      post_([this] { submit(); });
    }
    return;
  }
  MR_CHECK(submitted >= 0);
  drain();  // writes into the page cache are complete already
}

void FileRing::drain() {
  ::io_uring_cqe* cqe = nullptr;
  while (::io_uring_peek_cqe(ring_.get(), &cqe) == 0 && cqe != nullptr) {
    auto* op = static_cast<FileOp*>(::io_uring_cqe_get_data(cqe));
    op->result = cqe->res;
    ::io_uring_cqe_seen(ring_.get(), cqe);
    op->waiter.resume();
  }
}

void FileRing::run_thread() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    FileOp* op = queue_.front();
    queue_.pop_front();
    lock.unlock();
    op->result = run_blocking(*op);
    post_([waiter = op->waiter] { waiter.resume(); });
    lock.lock();
  }
}

}  // namespace millrace::io::detail

#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <thread>

#include "base/io/detail/file_ring.h"
#include "base/io/shard.h"

namespace millrace::io {

struct Shard::Impl {
  explicit Impl(Shard& shard);
  ~Impl();
  void start();
  void stop();
  void watch_files();

  Shard& shard;
  boost::asio::io_context context{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work;
  detail::FileRing files;
  boost::asio::posix::stream_descriptor files_done;
  std::thread thread;
};

namespace detail {

/// `co_await run_file_op(op)` gives bytes or -errno; on a shard only.
struct FileOpAwaiter {
  FileOp& op;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) const {
    MR_CHECK(Shard::current() != nullptr);
    op.waiter = h;
    Shard::current()->impl().files.start(op);
  }
  int64_t await_resume() const noexcept { return op.result; }
};

/// Continues after what is ready now on the shard.
struct Yield {
  Shard& shard;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) const {
    shard.post([h] { h.resume(); });
  }
  void await_resume() const noexcept {}
};

}  // namespace detail
}  // namespace millrace::io
